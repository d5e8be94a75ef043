"""`windlass build` and `windlass ship`: from a commit to an image in its registry, and from there to the cluster, either way."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from windlass.cli.shared import load_settings
from windlass.errors import PermanentError, TransientError, WindlassError

if TYPE_CHECKING:
    from workers.build.image import Built

POST_SECONDS = 30.0


def _options(command: Callable[..., None]) -> Callable[..., None]:
    """What both commands are told of the image."""
    for option in reversed(
        (
            click.option("--image", required=True, help="Its name, such as registry.example/shop/web: no tag."),
            click.option(
                "--path", default=".", type=click.Path(exists=True, file_okay=False), help="In the Git repository."
            ),
            click.option(
                "--revision", default="HEAD", show_default=True, help="The commit to build; never the work tree."
            ),
            click.option("--context", default="", help="The folder of the repository that is built from."),
            click.option("-f", "--file", "dockerfile", default="", help="The Dockerfile; else CONTEXT/Dockerfile."),
            click.option(
                "-t", "--tag", "tags", multiple=True, help="A version; beside Git's tags and the commit's id."
            ),
            click.option("--build-arg", "arguments", multiple=True, metavar="NAME=VALUE"),
            click.option("--target", default="", help="The stage to build."),
            click.option("--platform", default="", help="Such as linux/arm64."),
            click.option(
                "--tool", default="", help="buildah, podman, docker or buildctl; else the first that is here."
            ),
            click.option("--insecure", is_flag=True, help="The registry speaks no TLS."),
            click.option("--timeout", default=1800.0, show_default=True, help="Seconds."),
        )
    ):
        command = option(command)
    return command


@click.command()
@_options
@click.option("--no-push", "publish", flag_value=False, default=True, help="Build it, and publish nothing.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def build(publish: bool, output: str, **wished: Any) -> None:
    """Build the image of a commit, tag it by commit and version, push it, and print its digest.

    The registry's credentials are those of the usual file (REGISTRY_AUTH_FILE, ~/.docker/config.json), which the builder reads.
    """
    built = asyncio.run(_build(publish=publish, **wished))
    if output == "json":
        import orjson

        click.echo(orjson.dumps(built._asdict(), option=orjson.OPT_INDENT_2))
        return
    click.echo(f"{built.image}@{built.digest}")
    click.echo(f"  tags {', '.join(built.tags)}", err=True)


@click.command()
@_options
@click.option("--push", "way", flag_value="push", help="Apply it to the cluster from here, and follow the rollout.")
@click.option("--gitops", "way", flag_value="gitops", help="Have it promoted by a pull request.")
@click.option("--application", default="", help="With --push: whose manifests.")
@click.option("--force", is_flag=True, help="With --push: also an application that follows Git by itself.")
@click.option(
    "--service", default="", envvar="WINDLASS_SERVICE", help="With --gitops: the URL at which the service listens."
)
def ship(way: str | None, application: str, force: bool, service: str, **wished: Any) -> None:
    """Build and publish the image of a commit, then deliver it: `--push` to the cluster, or `--gitops` by pull request.

    With --gitops, WINDLASS_SERVICE is its URL, and WINDLASS_IMAGE_TOKEN a secret of a Registry document of `type: ci`.
    """
    if way is None:
        raise click.UsageError("say --push or --gitops")
    if way == "push" and not application:
        raise click.UsageError("--push: say which --application")
    token = os.environ.get("WINDLASS_IMAGE_TOKEN", "")
    if way == "gitops" and not (token and service):
        raise click.UsageError("--gitops: set WINDLASS_SERVICE and WINDLASS_IMAGE_TOKEN")
    if way == "push":
        from windlass.cli.push import require_deployable

        asyncio.run(require_deployable(load_settings(), application, force=force))
    built = asyncio.run(_build(publish=True, **wished))
    click.echo(f"published {built.reference}@{built.digest}")
    if way == "gitops":
        asyncio.run(_announce(service, token, built))
    else:
        from windlass.cli.push import deploy

        arguments = ["--application", application, "--image", f"{built.reference}@{built.digest}"]
        deploy.main([*arguments, *(["--force"] if force else [])], standalone_mode=False)


async def _build(*, publish: bool, path: str, tool: str, timeout: float, dockerfile: str, **wished: Any) -> Built:
    from workers.build import image, snapshot, tools

    context = wished["context"]
    wished["arguments"] = dict(map(tools.argument, wished["arguments"]))
    repository = snapshot.local(Path(path))
    wish = image.Wish(
        **wished,
        dockerfile=dockerfile or str(Path(context, "Dockerfile")),
        source=snapshot.origin(repository),
        seconds=timeout,
        publish=publish,
    )
    return await image.build(repository, wish, tools.find(tool), tell=lambda line: click.echo(line, err=True))


async def _announce(service: str, token: str, built: Built) -> None:
    """Tell the service what was published.

    :raises WindlassError: it refused, or did not answer.
    """
    import aiohttp

    body = {"image": built.image, "tag": built.tag, "digest": built.digest, "source": {"commit": built.commit}}
    headers, url = {"Authorization": f"Bearer {token}"}, f"{service.rstrip('/')}/images"
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=POST_SECONDS)) as session,
            session.post(url, json=body, headers=headers, allow_redirects=False) as answer,
        ):
            text, status = (await answer.text())[:500], answer.status
            found = await answer.json() if answer.content_type == "application/json" else {}
    except (aiohttp.ClientError, TimeoutError) as error:
        raise TransientError(f"{url}: {error or 'no answer in time'}") from None
    if status not in (200, 202):
        raise PermanentError(f"{url} answered {status}: {text}") if status < 500 else TransientError(f"{url}: {status}")
    for one in found.get("promotions", ()):
        click.echo(f"{one['promotion']}: {one['outcome']} {one['image']}")
    if "ignored" in found:
        raise WindlassError(f"published, and nothing follows it: {found['ignored']}")
