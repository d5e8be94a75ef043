"""Documents on a real disk: read again when they change, kept when they can't be read, and never led astray."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from windlass.documents.catalog import Catalog
from windlass.documents.directory import SETTLED, DocumentDirectory

Write = Callable[..., Path]


def cluster(name: str, spec: str = "{inCluster: true}") -> str:
    return f"apiVersion: windlass.dev/v1alpha1\nkind: Cluster\nmetadata: {{name: {name}}}\nspec: {spec}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "a.yaml").write_text(cluster("a"))
    return folder


def names(catalog: Catalog | None) -> list[str]:
    assert catalog is not None
    return sorted(catalog.clusters)


def errors(catalog: Catalog) -> list[str]:
    return [str(error) for error in catalog.errors]


def settled(directory: DocumentDirectory) -> None:
    """Let the files grow old enough to be told apart by their time stamps."""
    time.sleep(SETTLED * 1.5)
    assert directory.reload_if_changed() is None


def test_every_file_of_documents_below_the_directory(folder: Path) -> None:
    (folder / "sub" / "deep").mkdir(parents=True)
    (folder / "sub" / "b.yml").write_text(cluster("b"))
    (folder / "sub" / "deep" / "c.json").write_text(
        '{"apiVersion": "windlass.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": "c"}, "spec": {"inCluster": true}}'
    )
    (folder / "README.md").write_text("no document")
    (folder / ".hidden.yaml").write_text("no document")
    catalog = DocumentDirectory(folder).load()
    assert names(catalog) == ["a", "b", "c"]
    assert errors(catalog) == []


def test_an_error_names_the_file_below_the_directory(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "b.yaml").write_text("---\nkind: x\n")
    assert errors(DocumentDirectory(folder).load()) == [
        "sub/b.yaml:2: apiVersion: expected windlass.dev/v1alpha1, found nothing"
    ]


@pytest.mark.parametrize("age", ["young", "settled"])
def test_a_change_is_seen(folder: Path, age: str) -> None:
    directory = DocumentDirectory(folder)
    directory.load()
    if age == "settled":
        settled(directory)
    (folder / "b.yaml").write_text(cluster("b"))
    assert names(directory.reload_if_changed()) == ["a", "b"]
    (folder / "a.yaml").unlink()
    assert names(directory.reload_if_changed()) == ["b"]
    (folder / "b.yaml").rename(folder / "c.yaml")
    assert directory.reload_if_changed() is None, "a renamed file says the same"


def test_a_change_of_the_same_length_in_the_same_tick_of_the_clock_is_seen(folder: Path) -> None:
    directory = DocumentDirectory(folder)
    for turn in range(200):
        name = "ab"[turn % 2]
        (folder / "a.yaml").write_text(cluster(name))
        seen = directory.reload_if_changed() if turn else directory.load()
        assert names(seen) == [name]


def test_files_that_are_only_touched_are_no_change(folder: Path) -> None:
    directory = DocumentDirectory(folder)
    directory.load()
    settled(directory)
    os.utime(folder / "a.yaml")
    assert directory.reload_if_changed() is None


def test_a_time_stamp_in_the_future_is_no_reason_to_read_again(folder: Path) -> None:
    os.utime(folder / "a.yaml", (time.time() + 3600, time.time() + 3600))
    directory = DocumentDirectory(folder)
    directory.load()
    settled(directory)


def test_a_document_that_becomes_wrong_disables_itself_and_mends(folder: Path) -> None:
    directory = DocumentDirectory(folder)
    (folder / "b.yaml").write_text(cluster("b"))
    directory.load()
    (folder / "b.yaml").write_text(cluster("b", "{inCluster: maybe}"))
    catalog = directory.reload_if_changed()
    assert names(catalog) == ["a"]
    (folder / "b.yaml").write_text(cluster("b"))
    assert names(directory.reload_if_changed()) == ["a", "b"]


@pytest.mark.parametrize("loss", ["emptied", "gone", "a file"])
def test_documents_stay_valid_while_the_directory_is_empty_or_gone(folder: Path, loss: str) -> None:
    directory = DocumentDirectory(folder)
    directory.load()
    (folder / "a.yaml").unlink()
    if loss != "emptied":
        folder.rmdir()
    if loss == "a file":
        folder.write_text("not a directory")
    catalog = directory.reload_if_changed()
    assert catalog is not None
    assert names(catalog) == ["a"]
    assert len(catalog.errors) == 1
    assert str(folder) in errors(catalog)[0]
    assert directory.reload_if_changed() is None, "said once"
    if loss == "a file":
        folder.unlink()
    folder.mkdir(exist_ok=True)
    (folder / "b.yaml").write_text(cluster("b"))
    catalog = directory.reload_if_changed()
    assert catalog is not None
    assert (names(catalog), errors(catalog)) == (["b"], [])


def test_a_directory_that_comes_later_is_read_when_it_is_there(tmp_path: Path) -> None:
    directory = DocumentDirectory(tmp_path / "later")
    catalog = directory.load()
    assert errors(catalog) == [f"{tmp_path}/later: can't be read: No such file or directory"]
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "a.yaml").write_text(cluster("a"))
    assert names(directory.reload_if_changed()) == ["a"]


def test_a_config_maps_mount_and_its_swap(tmp_path: Path) -> None:
    """The kubelet links every entry through `..data`, and moves that link from one version's folder to the next."""
    mount = tmp_path / "mount"
    mount.mkdir()

    def version(number: int, *found: str) -> None:
        data = mount / f"..2026_11_23_{number}"
        (data / "sub").mkdir(parents=True)
        for name in found:
            (data / f"{name}.yaml").write_text(cluster(name))
        (data / "sub" / "deep.yaml").write_text(cluster(f"deep{number}"))
        link = mount / "..data_tmp"
        link.symlink_to(data.name)
        link.rename(mount / "..data")

    version(1, "a")
    (mount / "a.yaml").symlink_to("..data/a.yaml")
    (mount / "sub").symlink_to("..data/sub")
    directory = DocumentDirectory(mount)
    catalog = directory.load()
    assert (names(catalog), errors(catalog)) == (["a", "deep1"], [])
    version(2, "a", "b")
    (mount / "b.yaml").symlink_to("..data/b.yaml")
    assert names(directory.reload_if_changed()) == ["a", "b", "deep2"]


def test_the_directory_itself_may_be_a_link(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    assert names(DocumentDirectory(tmp_path / "link").load()) == ["a"]


@pytest.mark.parametrize("target", ["file", "folder"])
def test_a_link_that_leaves_the_directory_is_not_followed(folder: Path, tmp_path: Path, target: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.yaml").write_text("password: canary")
    (folder / "b.yaml").symlink_to(outside / "x.yaml" if target == "file" else outside)
    catalog = DocumentDirectory(folder).load()
    assert names(catalog) == ["a"]
    assert errors(catalog) == ["b.yaml: a link that leaves the directory is not followed"]


def test_a_folder_whose_name_begins_alike_is_outside(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "documents-old").mkdir()
    (folder / "old").symlink_to(tmp_path / "documents-old")
    assert len(DocumentDirectory(folder).load().errors) == 1


def test_loops_of_links_end(folder: Path) -> None:
    (folder / "self.yaml").symlink_to("self.yaml")
    (folder / "up").symlink_to(".")
    (folder / "one").mkdir()
    (folder / "one" / "two").symlink_to("../one")
    catalog = DocumentDirectory(folder).load()
    assert names(catalog) == ["a"]
    assert [error.file for error in catalog.errors] == ["self.yaml"]


def test_a_pipe_makes_nobody_wait(folder: Path) -> None:
    os.mkfifo(folder / "pipe.yaml")
    assert errors(DocumentDirectory(folder).load()) == ["pipe.yaml: not a regular file"]


def test_a_huge_file_is_not_read(folder: Path) -> None:
    with (folder / "huge.yaml").open("wb") as file:
        file.truncate(500_000_000)
    started = time.process_time()
    catalog = DocumentDirectory(folder).load()
    assert time.process_time() - started < 0.5
    assert errors(catalog) == ["huge.yaml: 500000000 bytes: more than the 10485760 that a file may have"]
    assert names(catalog) == ["a"]


def test_a_dangling_link_is_an_error_of_its_own(folder: Path) -> None:
    (folder / "b.yaml").symlink_to("none.yaml")
    catalog = DocumentDirectory(folder).load()
    assert (names(catalog), errors(catalog)) == (["a"], ["b.yaml: can't be read: No such file or directory"])


def test_a_name_that_is_no_text_can_be_written_down(folder: Path) -> None:
    (Path(os.fsdecode(os.fsencode(folder) + b"/\xff.yaml"))).write_text("kind: x")
    (error,) = errors(DocumentDirectory(folder).load())
    assert error.encode().startswith(b"\\xff.yaml:1: ")
