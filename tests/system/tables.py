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


# The rows that are no blank lines; None in the place of one that is oddly quoted but ends on its line.
def rows(text):
    lines = io.StringIO(text.removeprefix("\ufeff"), newline="").readlines()
    at, found = 0, []
    while at < len(lines):
        reader, row = csv.reader(iter(lines[at:]), strict=True), None
        try:
            row = next(reader)
        except csv.Error:
            reader = csv.reader(iter(lines[at:]))
            next(reader)
            if reader.line_num != 1:
                raise
        end = at + reader.line_num
        if "".join(lines[at:end]).strip():
            found.append(row)
        at = end
    return found


# These rows, which must not be odd and have one length.
def even(found):
    if None in found or len({len(row) for row in found}) > 1:
        raise ValueError("odd rows")
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
    header, *wanted = even([header, *data[-length:]])
    (column,) = [at for at, name in enumerate(header) if name.strip() == "a"]
    if len(data) < length:
        raise ValueError("too few rows")
    return [single(row[column]) for row in wanted]


def attempt(work):
    try:
        return work()
    except (csv.Error, ValueError, OverflowError):
        return None


def is_table(text):
    found = even(rows(text))
    return len(found) > 1 and not (len(found[0]) == 1 and set(found[0][0]) & set(";\t|"))


cases = json.load(sys.stdin)
json.dump([[attempt(lambda: last(text, length)), bool(attempt(lambda: is_table(text)))] for text, length in cases], sys.stdout)
