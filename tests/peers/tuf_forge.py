"""Makes and checks metadata with python-tuf, for the tests of Homeward's update client.

Reads one JSON object a line, answers with one a line.
"""

import base64
import json
import sys
import tempfile
from datetime import datetime, timezone

from securesystemslib.formats import encode_canonical
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root, Signature, Snapshot, Targets, Timestamp
from tuf.api.exceptions import DownloadHTTPError
from tuf.api.serialization.json import JSONSerializer
from tuf.ngclient import FetcherInterface, Updater

MAKERS = {
    "ed25519": CryptoSigner.generate_ed25519,
    "ecdsa-sha2-nistp256": CryptoSigner.generate_ecdsa,
    "rsassa-pss-sha256": CryptoSigner.generate_rsa,
    "rsa-pkcs1v15-sha256": lambda: CryptoSigner.generate_rsa(scheme="rsa-pkcs1v15-sha256"),
}
BLANK = {"root": Root, "timestamp": Timestamp, "snapshot": Snapshot, "targets": Targets}
made = {}


def signer(number, kind):
    if (number, kind) not in made:
        made[number, kind] = MAKERS[kind]()
    return made[number, kind]


def key(ask):
    public = signer(ask["number"], ask["kind"]).public_key
    return {"id": public.keyid, "key": public.to_dict()}


def blank(ask):
    expires = datetime.fromtimestamp(ask["expires_s"], timezone.utc)
    return {"doc": BLANK[ask["kind"]](expires=expires).to_dict()}


def sign(ask):
    doc = ask["doc"]
    try:
        metadata = Metadata.from_dict(json.loads(json.dumps({"signed": doc, "signatures": []})))
        data = metadata.signed_bytes
    except (KeyError, TypeError, ValueError, AttributeError):
        # What a test breaks on purpose, python-tuf does not take: signed all the same, as somebody evil would.
        metadata, data = None, encode_canonical(doc).encode()
    signatures = {}
    for by in ask["by"]:
        one = signer(by["number"], by["kind"]).sign(data)
        signatures[by["id"]] = Signature(by["id"], one.signature)
    if metadata is None:
        file = {"signatures": [s.to_dict() for s in signatures.values()], "signed": doc}
        made_bytes = json.dumps(file).encode()
    else:
        metadata.signatures = signatures
        made_bytes = metadata.to_bytes(JSONSerializer())
    return {"file": base64.b64encode(made_bytes).decode(), "by_python_tuf": metadata is not None}


class Shelf(FetcherInterface):
    def __init__(self, files):
        self.files = files

    def _fetch(self, url):
        name = url.split("://x/", 1)[1]
        if name not in self.files:
            raise DownloadHTTPError(name, 404)
        yield base64.b64decode(self.files[name])


def check(ask):
    with tempfile.TemporaryDirectory() as folder:
        updater = Updater(
            folder, "http://x/metadata/", folder, "http://x/targets/", Shelf(ask["files"]),
            bootstrap=base64.b64decode(ask["root"]),
        )
        updater.refresh()
        found = updater.get_targetinfo(ask["target"])
        if found is None:
            return {"error": "no such target"}
        with open(updater.download_target(found), "rb") as file:
            return {"content": base64.b64encode(file.read()).decode()}


ACTS = {"key": key, "blank": blank, "sign": sign, "check": check}

for line in sys.stdin:
    asked = json.loads(line)
    try:
        answer = ACTS[asked["do"]](asked)
    except Exception as error:  # noqa: BLE001
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
