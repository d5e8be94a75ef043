"""What other GitOps tools' objects say, in Windlass' words. Pure, but for `checkouts`; `windlass import` is the door.

What must hold: nothing is lost in silence. A field is translated, or is what Windlass does anyway, or is said to be lost, with
the file, the object, the path, and why; one that nobody here knows is lost too. No value of a Secret is read.
"""
