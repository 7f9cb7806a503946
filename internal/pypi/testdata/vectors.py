"""Write the vectors in this folder with the reference implementation.

Run with a Python that has packaging (26.3 was used):  python vectors.py
Each line is tab-separated: input as JSON, then what the reference makes of it
as JSON, or null where it refuses.
"""

import json
import random
from functools import cmp_to_key

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import (InvalidSdistFilename, InvalidWheelFilename, canonicalize_name,
                             canonicalize_version, parse_sdist_filename, parse_wheel_filename)
from packaging.version import InvalidVersion, Version

rnd = random.Random(440)

HAND = """1.0 1 1.0.0 0 00.01 v1.0 V1.0 1!1.0 2013.10 2013b 1.0a1 1.0.a1 1.0-a1 1.0_a1 1.0alpha 1.0a 1.0a- 1.0a_
1.0beta2 1.0c3 1.0rc3 1.0pre3 1.0preview3 1.0-preview-3 1.0.post1 1.0-1 1.0post 1.0r4 1.0-r4 1.0.rev4 1-r4
1.0.dev1 1.0dev 1.0-dev-1 1.0a1.post2.dev3 1.0+abc 1.0+abc.1 1.0+ubuntu-1 1.0+ubuntu_1 1.0+001 1.0+1a 1.0+a1 1.0+a.b.c
1.0+ 1.0+a- 1.0+a..b 1.0+!a 1.0- 1.0. 1. .1 1..0 1.0..a a1 v 1!  !1 1!! 1.0.* 1.0_1 1.0- 1 1.0,1 1.0-1-2 1.0--1 1.0a--1
1.0a.-1 1.0a1-1-dev 1.0dev1post1 1.0rev 1.0r 1.0rc 1.0previewa 20180101123045123456 99999999999999999999999999.0
1.0.0.0.0.0.0 1.0.0a0 1.0a00 0!1.0 00!1 1.0+1.2.3 1.0+1.a 1.0+a.1 1.0.POST1 1.0RC1 1.0.Dev2 1.0+UPPER 1.0.x 1,0 1e5
1.0.post-1 1.0.post.1 1.0.post_1 1.0.dev.1 1.0.dev_ 1.0dev- dev 1.0+a+b 1.0-a.b.c""".split(" ")
HAND = [h for line in HAND for h in line.split("\n")] + ["", " ", " 1.0 ", "\t1.0\n", "1.0 a1", "1 .0", "\u0661.0", "1.0\u00a0x"]


def random_version():
    sep = lambda: rnd.choice(["", "", ".", "-", "_"])
    num = lambda: rnd.choice(["", "0", "1", "2", "10", "007"])
    out = rnd.choice(["", "", "", "v", "1!", "0!", "2!"])
    out += ".".join(rnd.choice(["0", "0", "1", "2", "10", "00", "03"]) for _ in range(rnd.randint(1, 4)))
    if rnd.random() < 0.5:
        out += sep() + rnd.choice(["a", "b", "c", "rc", "alpha", "beta", "pre", "preview", "A", "RC"]) + sep() + num()
    if rnd.random() < 0.4:
        out += rnd.choice(["-1", "-0", sep() + rnd.choice(["post", "rev", "r", "POST"]) + sep() + num()])
    if rnd.random() < 0.4:
        out += sep() + "dev" + sep() + num()
    if rnd.random() < 0.3:
        out += "+" + rnd.choice("._-").join(rnd.choice(["a", "1", "01", "abc", "1a", "Z", "10", "2"]) for _ in range(rnd.randint(1, 3)))
    if rnd.random() < 0.1 and out:
        i = rnd.randrange(len(out))
        out = out[:i] + rnd.choice(".-_+!a1* ") + out[i + rnd.randint(0, 1):]
    return out


def write(name, rows):
    with open(name, "w", encoding="utf-8") as f:
        for row in rows:
            f.write("\t".join(json.dumps(x) for x in row) + "\n")


def unique(xs):
    return list(dict.fromkeys(xs))


texts = unique(HAND + [random_version() for _ in range(1500)])
rows, valid = [], []
for t in texts:
    try:
        v = Version(t)
    except InvalidVersion:
        rows.append((t, None, None, None))
        continue
    valid.append(t)
    rows.append((t, str(v), canonicalize_version(v), v.is_prerelease))
write("versions.tsv", rows)

# Sorted, with the rank of each: equal versions have equal ranks.
valid.sort(key=lambda t: (Version(t), t))
ordered, rank = [], -1
for i, t in enumerate(valid):
    if i == 0 or Version(valid[i - 1]) != Version(t):
        rank += 1
    ordered.append((rank, t))
write("order.tsv", ordered)

SPECIFIERS = [
    "", ",", ">=3.9", ">=3.9,", " >= 3.9 , != 3.9.1 ", "==3.*", "!=3.4.*", "==3", "==3.9+local", "!=3.9+local", ">=3.9+local",
    "~=3.9", "~=3", "~=3.9.*", ">=3.*", ">3.*", "<4.*", "<=3.*", "===3.9", "=== anything-else", "===", "===a b", "===a;b", "===a)",
    "3.9", "=3.9", "=>3.9", ">=3.9 <4", ">=3.9;<4", "python>=3", ">", ">=", "==", "~= 3.9rc1", ">=3.9rc1", "==3.9.dev1.*", "==3.9rc1.*",
    "==3.9.post1.*", "==3.9+x.*", "==1!3.*", "==*", "==.*", "==3..*", "> =3", "><3", "<>3", "!3", "==v3.9", "== v3.9.*", "~=v3.9", "~=1!3", "~=3.9a1",
    ">= 3.9,<4,!=3.9.*,!= 3.10.*", ">=3.9,,<4", ">=3.9,<four", ">=\u0663", "==3.9-1", "==3.9-1.*", "~=3-1", "~=3.9-1", "<3.9_", ">=3.9\n",
]
rows = []
for s in SPECIFIERS:
    try:
        SpecifierSet(s)
        rows.append((s, True))
    except InvalidSpecifier:
        rows.append((s, None))
write("specifiers.tsv", rows)

FILES = """flask-3.1.0-py3-none-any.whl Flask-3.1.0-py3-none-any.whl zope.interface-5.4.0-cp39-cp39-win_amd64.whl
numpy-1.21.0-cp39-cp39-macosx_10_9_x86_64.macosx_11_0_arm64.macosx_10_9_universal2.whl
cryptography-42.0.5-cp39-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64.whl
six-1.16.0-py2.py3-none-any.whl pip-24.0-py3-none-any.whl torch-2.3.0+cu121-cp311-cp311-linux_x86_64.whl
foo_bar-1.0-1-py3-none-any.whl foo_bar-1.0-1abc-py3-none-any.whl foo_bar-1.0-abc-py3-none-any.whl foo-bar-1.0-py3-none-any.whl
foo__bar-1.0-py3-none-any.whl foo-1.0-py3-none.whl foo-1.0.whl foo.whl -1.0-py3-none-any.whl foo--py3-none-any.whl
foo-bad-py3-none-any.whl foo-1.0_1-py3-none-any.whl foo-1!2.0-py3-none-any.whl foo-1.0.post1.dev2-py3-none-any.whl foo-1.0RC1-py3-none-any.whl
../x-1-py3-none-any.whl foo-1.0-py3-none-any.WHL foo-1.0-py3-none-any.whl.asc
flask-3.1.0.tar.gz Flask-3.1.0.tar.gz zope.interface-5.4.0.tar.gz zope_interface-5.4.0.tar.gz foo-1.0.zip foo_bar-1.0.tar.gz
foo-1.0.tar.bz2 foo-1.0.tgz foo.tar.gz foo-.tar.gz -1.0.tar.gz foo-bad.tar.gz foo-1.0+local.1.tar.gz foo-1!1.0.tar.gz foo-2024.1.tar.gz
foo-1.0.0rc1.tar.gz foo-1.0.egg foo-1.0.exe""".split()
rows = []
for f in FILES:
    try:
        if f.endswith(".whl"):
            name, version, _, _ = parse_wheel_filename(f)
        else:
            name, version = parse_sdist_filename(f)
        rows.append((f, name, str(version)))
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion):
        rows.append((f, None, None))
write("filenames.tsv", rows)

NAMES = "Flask foo.bar foo__bar a--b a-_.b Zope.Interface x A1 ruamel.yaml.clib typing_extensions backports.zoneinfo".split()
write("names.tsv", [(n, canonicalize_name(n)) for n in NAMES])
