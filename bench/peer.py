"""Does one workload with python-tuf and reports what it cost, like the commands beside it."""

import json
import os
import resource
import sys
import time
from datetime import datetime, timedelta, timezone
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root, Snapshot, TargetFile, Targets
from tuf.api.serialization.json import JSONSerializer
from tuf.ngclient import Updater

DELEGATIONS = 2048


def path(i):
    return f"3f/a-project-name/a_project_name-1.{i:06d}.0-py3-none-any.whl"


def project(i):
    return f"3f/project-{i:05d}/project_{i:05d}-1.0-py3-none-any.whl"


def read(folder, name):
    with open(os.path.join(folder, name), "rb") as f:
        return f.read()


def cpu():
    u = resource.getrusage(resource.RUSAGE_SELF)
    return u.ru_utime + u.ru_stime


def report(operations, work):
    before, start = cpu(), time.perf_counter()
    work()
    wall, used = time.perf_counter() - start, cpu() - before
    with open("/proc/self/status") as f:
        peak = next(int(line.split()[1]) for line in f if line.startswith("VmHWM:"))
    print(json.dumps({"cpu_ns": used * 1e9 / operations, "wall_ns": wall * 1e9 / operations, "peak_kib": peak}))


def root(folder):
    r = Metadata[Root].from_bytes(read(folder, "root.json"))
    r.verify_delegate(Root.type, r)
    return r


def verify(r, role, data):
    m = Metadata.from_bytes(data)
    r.signed.verify_delegate(role, m.signed_bytes, m.signatures)
    return m


def parse(folder, role, name):
    r, data = root(folder), read(folder, name)
    report(1, lambda: verify(r, role, data))


def sign():
    files = {}
    for i in range(10_000):
        digest = sha256(i.to_bytes(8, "big")).hexdigest()
        files[path(i)] = TargetFile(10_000 + i % 90_000, {"sha256": digest}, path(i))
    m = Metadata(Targets(1, "1.0.31", datetime.now(timezone.utc).replace(microsecond=0) + timedelta(hours=1), files))
    signer = CryptoSigner(Ed25519PrivateKey.from_private_bytes(sha256(b"benchmark key targets").digest()))

    def work():
        m.sign(signer)
        m.to_bytes(JSONSerializer(compact=True))

    report(1, work)


def responsible(folder):
    t = verify(root(folder), Targets.type, read(folder, "delegations.json")).signed
    step = 64

    def work():
        for i in range(0, DELEGATIONS, step):
            roles = list(t.delegations.get_roles_for_target(project(i)))
            assert roles == [(f"project-{i:05d}", True)], roles

    report(DELEGATIONS // step, work)


def role(folder):
    t = verify(root(folder), Targets.type, read(folder, "delegations.json")).signed
    files = read(folder, "roles.jsonl").split(b"\n")[:DELEGATIONS]

    def work():
        for i, data in enumerate(files):
            m = Metadata.from_bytes(data)
            t.verify_delegate(f"project-{i:05d}", m.signed_bytes, m.signatures)

    report(DELEGATIONS, work)


def rollback(folder, before, after):
    """Has the loop of TrustedMetadataSet.update_snapshot."""
    r = root(folder)
    older = verify(r, Snapshot.type, read(folder, before)).signed
    newer = verify(r, Snapshot.type, read(folder, after)).signed

    def work():
        for name, info in older.meta.items():
            new = newer.meta.get(name)
            assert new is not None and new.version >= info.version

    report(1, work)


def client(folder, url, state):
    anchor = read(folder, "root.json")

    def work():
        u = Updater(state, url, bootstrap=anchor)
        u.refresh()
        assert u.get_targetinfo(path(777)) is not None

    report(1, work)


def main():
    workload, folder, *args = sys.argv[1:]
    if workload in ("targets", "snapshot"):
        parse(folder, workload, *args)
    elif workload == "sign":
        sign()
    else:
        {"responsible": responsible, "role": role, "rollback": rollback, "client": client}[workload](folder, *args)


main()
