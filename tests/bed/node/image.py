#!/usr/bin/env python3
"""Writes a container image as an archive that `ctr images import` takes.

usage: image.py OUT.tar REF[,REF…] CONFIG-JSON SOURCE:DESTINATION[:LINK,LINK…]…

Reproducible: the same input gives the same bytes.
"""
import hashlib
import io
import json
import os
import sys
import tarfile


def folder(archive, seen, path, mode=0o755):
    parts = path.strip("/").split("/")
    for depth in range(1, len(parts) + 1):
        name = "/".join(parts[:depth])
        if name and name not in seen:
            seen.add(name)
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            archive.addfile(entry)


def layer(files):
    out, seen = io.BytesIO(), set()
    with tarfile.open(fileobj=out, mode="w") as archive:
        folder(archive, seen, "tmp", 0o1777)
        folder(archive, seen, "etc")
        for spec in files:
            source, destination, *links = spec.split(":")
            folder(archive, seen, os.path.dirname(destination))
            entry = tarfile.TarInfo(destination.strip("/"))
            entry.mode, entry.size = 0o755, os.path.getsize(source)
            with open(source, "rb") as content:
                archive.addfile(entry, content)
            for link in links[0].split(",") if links else []:
                folder(archive, seen, os.path.dirname(link))
                entry = tarfile.TarInfo(link.strip("/"))
                entry.type, entry.linkname = tarfile.SYMTYPE, destination
                archive.addfile(entry)
    return out.getvalue()


def main():
    out, references, config, *files = sys.argv[1:]
    content = layer(files)
    digest = hashlib.sha256(content).hexdigest()
    description = json.dumps({
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin"], **json.loads(config)},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + digest]},
    }).encode()
    named = hashlib.sha256(description).hexdigest() + ".json"
    manifest = [{"Config": named, "RepoTags": references.split(","), "Layers": [digest + ".tar"]}]
    with tarfile.open(out, "w") as archive:
        for name, data in ((named, description), (digest + ".tar", content), ("manifest.json", json.dumps(manifest).encode())):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))


main()
