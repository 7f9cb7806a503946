"""python-tuf as a client that a test drives: one request a line on standard input, as
JSON, and one verdict a line on standard output.

A request names a folder for trusted metadata and targets, two base URLs, a file with the
trusted root, a target path, and maybe paths to be looked up before it in the same session. The verdict is "accepted HEX" with the SHA-256 of the
bytes that the application got, "not found", or "refused REASON".
"""

import hashlib
import json
import os
import sys

from tuf.ngclient import Updater


def look(request):
    folder = request["folder"]
    targets = os.path.join(folder, "targets")
    os.makedirs(targets, exist_ok=True)
    with open(request["root"], "rb") as f:
        root = f.read()
    updater = Updater(
        os.path.join(folder, "metadata"),
        request["metadata"],
        targets,
        request["targets"],
        bootstrap=root,
    )
    updater.refresh()
    for path in request.get("before") or []:
        updater.get_targetinfo(path)
    info = updater.get_targetinfo(request["path"])
    if info is None:
        return "not found"
    with open(updater.download_target(info), "rb") as f:
        return "accepted " + hashlib.sha256(f.read()).hexdigest()


for line in sys.stdin:
    request = json.loads(line)
    os.makedirs(os.path.join(request["folder"], "metadata"), exist_ok=True)
    try:
        verdict = look(request)
    except Exception as e:  # whatever it is, it is the answer
        verdict = f"refused {type(e).__name__}: {e}"
    print(verdict.replace("\n", " "), flush=True)
