# What Python's csv, told to be strict, makes of CSV texts. Input: a JSON list of [text, length]; output: for each the last `length` numbers
# of column "a" as FP32, or null where the text is refused; and whether the text is a table at all.
import csv
import io
import json
import math
import re
import struct
import sys

NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def rows(text):
    lines = io.StringIO(text.removeprefix("\ufeff"), newline="").readlines()
    reader, seen, found = csv.reader(iter(lines), strict=True), 0, []
    for row in reader:
        raw, seen = "".join(lines[seen : reader.line_num]), reader.line_num
        if raw.strip():
            found.append(row)
    if len({len(row) for row in found}) > 1:
        raise ValueError("rows of different length")
    return found


def single(text):
    if not NUMBER.fullmatch(text.strip()):
        raise ValueError("not a number")
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("not finite")
    return struct.unpack("<f", struct.pack("<f", value))[0]


def last(text, length):
    header, *data = rows(text)
    (column,) = [at for at, name in enumerate(header) if name.strip() == "a"]
    if len(data) < length:
        raise ValueError("too few rows")
    return [single(row[column]) for row in data[-length:]]


def attempt(work):
    try:
        return work()
    except (csv.Error, ValueError, OverflowError):
        return None


def is_table(text):
    found = rows(text)
    return len(found) > 1 and not (len(found[0]) == 1 and set(found[0][0]) & set(";\t|"))


cases = json.load(sys.stdin)
json.dump([[attempt(lambda: last(text, length)), bool(attempt(lambda: is_table(text)))] for text, length in cases], sys.stdout)
