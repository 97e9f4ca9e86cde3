"""Files that somebody could pass for a detector: other formats that run code, bombs, lies and contradictions.

`write_hostile_bundles` makes all of them by script; none is copied from anywhere. What describes a detector carries a
checksum that fits, so that it is the check in question that must refuse it.
"""

import gzip
import io
import json
import marshal
import os
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import safetensors.numpy
from made_bundles import CONTENT, DELETE, description_of, forged, with_header

ARRAYS = safetensors.numpy.load(CONTENT)
(HEADER_LENGTH,) = struct.unpack("<Q", CONTENT[:8])
HEADER = CONTENT[8 : 8 + HEADER_LENGTH]
BODY = CONTENT[8 + HEADER_LENGTH :]
TEXT = json.dumps(description_of(CONTENT), sort_keys=True, separators=(",", ":"))


class Canary:
    """Unpickling this creates a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def zipped(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(name, content):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def npy_header(shape):
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def other_formats(canary):
    """Formats whose usual readers run code, unpack elsewhere, or allocate without end."""
    payload = pickle.dumps(Canary(canary))
    with_objects = np.array([Canary(canary)], dtype=object)
    layer = {"class_name": "Lambda", "config": {"function": {"class_name": "__lambda__", "config": {"code": "4wEAAAA="}}}}
    keras = {"module": "keras", "class_name": "Sequential", "config": {"layers": [layer]}}
    return {
        **{f"pickle of protocol {n}": pickle.dumps(Canary(canary), protocol=n) for n in range(6)},
        "code for the interpreter": marshal.dumps(compile(f"open({str(canary)!r}, 'w')", "x", "exec")),
        "python source": f"open({str(canary)!r}, 'w')\n".encode(),
        "shell script": f"#!/bin/sh\ntouch {canary}\n".encode(),
        "zip with a pickle": zipped({"archive/data.pkl": payload, "archive/version": "3"}),
        "zip that climbs out of its folder": zipped({"../../canary": "x", "/canary": "x"}),
        "tar that climbs out of its folder": tarred("../../canary", payload),
        "keras archive": zipped({"config.json": json.dumps(keras), "metadata.json": "{}", "model.weights.h5": "x"}),
        "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(2000),
        "saved model": b"\x08\x01\x12\x08serve" + bytes(300),
        "npz of objects": npz(weights=with_objects),
        "npz of numbers": npz(**{name.replace("/", "_"): array for name, array in ARRAYS.items()}),
        "npy of a tebibyte": npy_header((2**20, 2**17)) + bytes(16),
        "gzip bomb": gzip.compress(bytes(32 << 20)),
        "gzip of a bundle": gzip.compress(CONTENT),
        "yaml that names a function": b"!!python/object/apply:os.system ['true']\n",
        "xml that grows": b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>',
        "safetensors of another program": safetensors.numpy.save({"x": np.zeros(3)}, metadata={"format": "pt"}),
        "bundle with a pickle behind it": CONTENT + payload,
        "bundle with a zip behind it": CONTENT + zipped({"config.json": "{}"}),
        "pickle in the place of the header": with_header(payload),
        "pickle in the metadata": forged(text=json.dumps({"format_version": 3, "settings": payload.decode("latin-1")})),
    }


def altered(entry=None, *, extra=None, drop=None, metadata=None):
    """Return the bundle with entries of its header changed: {array: {key: value}}."""
    header = json.loads(HEADER)
    for name, changes in (entry or {}).items():
        header[name] |= changes
    header |= extra or {}
    for name in drop or ():
        del header[name]
    header["__metadata__"] |= metadata or {}
    return with_header(padded(header))


def padded(header):
    text = json.dumps(header, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8)


def lying_headers():
    """Headers that lie about lengths, places, shapes and types."""
    first, second = "calibration/times", "calibration/point_mean"
    bias = "weights/output/bias"
    start, stop = json.loads(HEADER)[bias]["data_offsets"]
    moved = json.loads(HEADER)
    for name in ("weights/output/bias", "weights/output/kernel"):
        moved[name]["data_offsets"] = [x + 4 for x in moved[name]["data_offsets"]]
    reordered = dict(reversed(json.loads(HEADER).items()))
    return {
        "empty": b"",
        "seven bytes": CONTENT[:7],
        **{f"cut off at {i} of 20": CONTENT[: len(CONTENT) * i // 20] for i in range(1, 20)},
        "one byte short": CONTENT[:-1],
        "one byte more": CONTENT + b"\0",
        "bundle twice": CONTENT * 2,
        "header of no length": struct.pack("<Q", 0) + CONTENT[8:],
        "header of 2**63 bytes": struct.pack("<Q", 2**63) + CONTENT[8:],
        "header of 2**64 - 1 bytes": struct.pack("<Q", 2**64 - 1) + CONTENT[8:],
        "header as long as the file": struct.pack("<Q", len(CONTENT)) + CONTENT[8:],
        "header one byte shorter": struct.pack("<Q", HEADER_LENGTH - 1) + CONTENT[8:],
        "header one byte longer": struct.pack("<Q", HEADER_LENGTH + 1) + CONTENT[8:],
        "header above its limit": with_header(HEADER + b" " * (1 << 20)),
        "header with more room": with_header(HEADER + b" " * 8),
        "header with a space": with_header(HEADER.rstrip().replace(b'":', b'": ', 1) + b" " * 8),
        "header with tabs": with_header(HEADER.rstrip() + b"\t" * 8),
        "header with a byte order mark": with_header(b"\xef\xbb\xbf" + HEADER),
        "header in UTF-16": with_header(HEADER.decode().encode("utf-16")),
        "header in another order": with_header(padded(reordered)),
        "header that is a list": with_header(b"[" * 8 + b"]" * 8),
        "header of 10,000 levels": with_header(b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}"),
        "header of a hundred thousand open brackets": with_header(b"[" * 100_000),
        "header of many empty lists": with_header(b'{"a":[' + b"[]," * 300_000 + b"[]]}"),
        "header of many empty objects": with_header(b'{"a":[' + b"{}," * 300_000 + b"{}]}"),
        "header of many keys": with_header(b"{" + b",".join(b'"%d":1' % i for i in range(90_000)) + b"}"),
        "header of a million quotes": with_header(b'"' * 1_000_000),
        "header of a million backslashes": with_header(b'"' + b"\\" * 1_000_000),
        "array named twice": with_header(HEADER.rstrip()[:-1] + b',"weights/output/bias":{"dtype":"F32"}}'),
        "metadata twice": with_header(HEADER.rstrip()[:-1] + b',"__metadata__":{"anomaly":"{}"}}'),
        "second metadata key": altered(metadata={"more": "x"}),
        "metadata that is no text": altered(metadata={"anomaly": {}}),
        "key of the array that is unknown": altered({bias: {"strides": [1]}}),
        "shape of 2**40": altered({bias: {"shape": [2**40]}}),
        "shape whose product is 2**64": altered({bias: {"shape": [2**32, 2**32]}}),
        "shape with a zero": altered({bias: {"shape": [0, 2]}}),
        "shape of truth values": altered({bias: {"shape": [True, 2]}}),
        "shape of floats": altered({bias: {"shape": [2.0]}}),
        "negative shape": altered({bias: {"shape": [-2]}}),
        "type of text": altered({bias: {"dtype": "U8"}}),
        "type in small letters": altered({bias: {"dtype": "f32"}}),
        "half precision": altered({bias: {"dtype": "F16"}}),
        "integers for floats": altered({second: {"dtype": "I64"}}),
        "floats for times": altered({first: {"dtype": "F64"}}),
        "overlapping arrays": altered({bias: {"data_offsets": [0, stop - start]}}),
        "two arrays in one place": altered({"calibration/trailing": json.loads(HEADER)[second]}),
        "swapped arrays": altered({first: json.loads(HEADER)[second], second: json.loads(HEADER)[first]}),
        "hole between arrays": with_header(padded(moved)) + bytes(4),
        "offsets beyond the file": altered({bias: {"data_offsets": [10**12, 10**12 + 8]}}),
        "negative offsets": altered({bias: {"data_offsets": [-8, 0]}}),
        "offsets as text": altered({bias: {"data_offsets": ["0", "8"]}}),
        "no offsets": altered({bias: {"data_offsets": None}}),
        "extra array in the header": altered(extra={"weights/more": {"dtype": "F32", "shape": [0], "data_offsets": [stop, stop]}}),
        "missing array in the header": altered(drop=[bias]),
        "array whose name climbs": altered(extra={"../../x": {"dtype": "F32", "shape": [0], "data_offsets": [stop, stop]}}),
    }


def substituted(old, new):
    assert old in TEXT
    return forged(text=TEXT.replace(old, new, 1))


def lying_descriptions():
    """Descriptions that are no valid JSON, name what is unknown, or contradict themselves."""
    described = description_of(CONTENT)
    wide = [f"c{i}" for i in range(10_000)]
    return {
        "description of another format 1": forged(format_version=1),
        "description of another format 2": forged(format_version=2),
        "description of format 3 as text": forged(format_version="3"),
        "description of format 3.0": forged(format_version=3.0),
        "description of format true": forged(format_version=True),
        "description with spaces": forged(text=json.dumps(described, sort_keys=True)),
        "description in another order": forged(text=json.dumps(dict(reversed(described.items())), separators=(",", ":"))),
        "description of 10,000 levels": substituted('"seed":11,"set', '"seed":' + "[" * 10_000 + "]" * 10_000 + ',"set'),
        "description of 17 levels": substituted('"fingerprint":"' + "ab" * 32 + '"', '"fingerprint":' + "[" * 16 + "]" * 16),
        "description with a key twice": substituted('"seed":11,"set', '"seed":11,"seed":12,"set'),
        "NaN as a number": substituted('"value":0.1}', '"value":NaN}'),
        "infinity as a number": substituted('"value":0.1}', '"value":Infinity}'),
        "1e999 as a number": substituted('"value":0.1}', '"value":1e999}'),
        "integer of 10,000 digits": substituted('"step":3600000000', '"step":' + "9" * 10_000),
        "integer of 4,000 digits": substituted('"step":3600000000', '"step":' + "9" * 4_000),
        "integer written as 3.6e9": substituted('"step":3600000000', '"step":3.6e9'),
        "setting with a needless exponent": substituted('"alarm_rate":0.005', '"alarm_rate":5e-3'),
        "letter written as an escape": substituted('"flow"', '"\\u0066low"'),
        "half of a surrogate pair": substituted('"flow"', '"\\ud800low"'),
        "unknown key": forged(function="os.system"),
        "unknown setting": forged(settings__custom_objects="x"),
        "unknown key in the training": forged(training__callback="x"),
        "unknown key in a threshold": forged(thresholds__trailing__lambda="x"),
        "unknown aggregation": forged(thresholds__best={}),
        "missing setting": forged(settings__units=DELETE),
        "missing threshold": forged(thresholds__trailing=DELETE),
        "missing training": forged(training=DELETE),
        "missing checksum": substituted(f',"sha256":"{described["sha256"]}"', ""),
        "wrong checksum": forged(sha256="0" * 64),
        "version that is a path": forged(versions={"numpy": "../../etc/passwd"}),
        "version of a megabyte": forged(versions={"numpy": "1" * 900_000}),
        "package named after a class": forged(versions={"os.system": "1"}),
        "key of a megabyte": forged(**{"settings__" + "k" * 900_000: 1}),
        "fingerprint that is a program": forged(fingerprint="__import__('os').system('true')"),
        "first time that is a formula": forged(training__first_time="=1+1"),
        "last time with an escape sequence": forged(training__last_time="\x1b[2J"),
        "column with an escape sequence": forged(columns=["flow", "\x1b]0;title\x07"]),
        "column with a line break": forged(columns=["flow", "a\nb"]),
        "column with a null": forged(columns=["flow", "a\0"]),
        "column of a megabyte": forged(columns=["flow", "c" * 900_000]),
        "column without a name": forged(columns=["flow", ""]),
        "columns of the same name": forged(columns=["flow", "flow"]),
        "10,000 columns": forged(columns=wide),
        "no columns": forged(columns=[]),
        "time column that is a feature": forged(time_column="flow"),
        "time column with a control character": forged(time_column="\x07"),
        "4,096 units in a tiny file": forged(settings__units=4_096),
        "4,096 units in 3 layers": forged(settings__units=4_096, settings__layers=3),
        "3 layers in a file of one": forged(settings__layers=3),
        "both directions in a file of one": forged(settings__bidirectional=True),
        "code that is not there": forged(settings__code_size=2),
        "units of 1e308": forged(settings__units=1e308),
        "units as text": forged(settings__units="3"),
        "window of the settings another": forged(settings__window_size=6),
        "window of 10**9": forged(settings__window_size="auto", window_size=10**9),
        "direction for three columns": forged(settings__direction=[1.0, 0.5, 1.0]),
        "direction of rows of unequal length": forged(settings__direction=[[1.0], [1.0, 2.0]]),
        "alarm direction for one column": forged(settings__alarm_direction=[1.0]),
        "2**60 calibration rows": forged(training__n_calibration_rows=2**60),
        "2**29 calibration rows": forged(training__n_calibration_rows=2**29),
        "2**29 epochs": forged(training__n_epochs=2**29),
        "best epoch after the last": forged(training__best_epoch=3),
        "more rows held out than there are": forged(training__n_held_out_rows=9),
        "threshold of 0": forged(thresholds__trailing__value=0.0),
        "negative threshold": forged(thresholds__trailing__value=-1.0),
        "threshold as text": forged(thresholds__trailing__value="0.1"),
        "threshold by an unknown method": forged(thresholds__trailing__method="os.system"),
        "probe of one number": forged(probe=[1.0]),
        "probe of negative numbers": forged(probe=[-1.0, 1.0, 1.0, 1.0]),
        "probe of text": forged(probe="os.system"),
    }


def lying_arrays():
    """Arrays of the right place and the wrong numbers."""
    bias, scale, scores = (ARRAYS[name] for name in ("weights/output/bias", "scaler/scale", "calibration/trailing"))
    return {
        "weights of NaN": forged(tensors={"weights/output/bias": bias * np.float32("nan")}),
        "infinite weights": forged(tensors={"weights/output/bias": bias + np.float32("inf")}),
        "scale of NaN": forged(tensors={"scaler/scale": scale * np.nan}),
        "scale of 0": forged(tensors={"scaler/scale": scale * 0}),
        "negative scale": forged(tensors={"scaler/scale": -scale}),
        "scale of 1e308": forged(tensors={"scaler/scale": np.full(2, 1e308)}),
        "center of -1e308": forged(tensors={"scaler/center": np.full(2, -1e308)}),
        "half a constant": forged(tensors={"scaler/constant": ARRAYS["scaler/constant"] * 0.5}),
        "unit of errors of 0": forged(tensors={"scaler/error": 0 * ARRAYS["scaler/error"]}),
        "unit of errors that is not finite": forged(tensors={"scaler/error": ARRAYS["scaler/error"] + np.inf}),
        "infinite scores": forged(tensors={"calibration/trailing": scores + np.inf}),
        "negative scores": forged(tensors={"calibration/trailing": -1 - scores}),
        "times without end": forged(tensors={"calibration/times": np.full(8, np.iinfo(np.int64).min)}),
        "infinite losses": forged(tensors={"history/loss": np.full(2, np.inf)}),
        "weights in double precision": forged(tensors={"weights/output/bias": bias.astype(np.float64)}),
        "scale in single precision": forged(tensors={"scaler/scale": scale.astype(np.float32)}),
        "missing array": forged(tensors={"weights/output/bias": DELETE}),
        "extra array": forged(tensors={"weights/more": np.zeros(3, np.float32)}),
        "extra array without elements": forged(tensors={"weights/more": np.zeros(0, np.float32)}),
        "array of bytes": forged(tensors={"calibration/times": np.zeros(64, np.uint8)}),
        "arrays of another order": CONTENT[: 8 + HEADER_LENGTH] + BODY[::-1],
    }


def special_files(folder):
    """Make what is no regular file, or too large a one; yield name and path."""
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    yield "pipe", pipe
    device = folder / "device"
    device.symlink_to("/dev/zero")
    yield "link to an endless device", device
    for name, size in (("1 GiB and a byte", (1 << 30) + 1), ("1 GiB with a small header", 1 << 30), ("1 TiB", 1 << 40)):
        path = folder / name.replace(" ", "_")
        path.write_bytes(CONTENT)
        os.truncate(path, size)  # a hole takes no room on the disk
        yield name, path


def write_hostile_bundles(folder, canary):
    """Write all files, and return their paths by name; if one of them is believed, `canary` may appear."""
    contents = other_formats(canary) | lying_headers() | lying_descriptions() | lying_arrays()
    paths = dict(special_files(Path(folder)))
    for number, (name, content) in enumerate(contents.items()):
        paths[name] = Path(folder) / f"{number:03}.anomaly"
        paths[name].write_bytes(content)
    return paths
