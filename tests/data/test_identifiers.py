import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtune.data.identifiers import is_missing, is_rounded_number, label_key, patient_key, similar, spell, squeeze

INVISIBLE = ["\u200b", "\u200d", "\ufeff", "\u00a0", "\u2009", "\u00ad", "\t", " ", "\u200e", "\ufe0f", "\u3164"]
NAMES = st.text("ABCXYZabcxyzÄÖÜäöüéñçßЖж患者0123456789-_/.", min_size=1, max_size=12)
NUMBERS = st.integers(0, 10**9)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("P1", "p1"), ("M\u00fcller", "Mu\u0308ller"), ("P 1", "P1"), ("P1", "P1\u200b"), ("\ufeffP1", "P1"),
        ("007", "7"),
        ("P007", "P7"), ("7", "7.0"), ("7", "7,0"), ("\uff30\uff11", "P1"), ("P-1", "P\u20111"), ("P-1", "P\u20131"),
        ("case-03-a", "Case-3-A"), ("STRASSE 1", "Stra\u00dfe 1"), ("P1", "P\u00a01"), ("0", "00"), ("1.00", "1"),
        ("P1", "\u04201"), ("\u0130zmir", "izmir"), ("\u0410\u0421-7", "AC-7"),
    ],
)  # fmt: skip
def test_patient_key__is_equal_for_spellings_of_a_patient(first, second):
    assert patient_key(first) == patient_key(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("P1", "P10"), ("10", "1"), ("1.5", "1.05"), ("P1a", "P1b"), ("1.0", "10"), ("P1-2", "P12"), ("100", "1"),
        ("0", "1"), ("2.840.1", "2.840.10"), ("P1_1", "P1_2"), ("u\u0308", "u"),
    ],
)  # fmt: skip
def test_patient_key__differs_between_patients(first, second):
    assert patient_key(first) != patient_key(second)


@given(NAMES, st.integers(0, 12), st.sampled_from(INVISIBLE))
def test_patient_key__ignores_invisible_characters(name, position, character):
    assert patient_key(name[:position] + character + name[position:]) == patient_key(name)


@given(NAMES, st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
def test_patient_key__ignores_the_unicode_form_and_case(name, form):
    assert patient_key(unicodedata.normalize(form, name)) == patient_key(name)
    assert patient_key(name.upper()) == patient_key(name) == patient_key(name.casefold())


@given(NUMBERS, st.integers(0, 6), st.sampled_from(["", "P", "case_"]))
def test_patient_key__compares_numbers_by_value(number, zeros, prefix):
    assert patient_key(f"{prefix}{'0' * zeros}{number}") == patient_key(f"{prefix}{number}")
    assert patient_key(f"{number}.0") == patient_key(str(number))
    assert patient_key(f"{prefix}{number}") != patient_key(f"{prefix}{number + 1}")
    assert patient_key(f"{prefix}{number}0") != patient_key(f"{prefix}{number}") or number == 0


@given(st.text(max_size=20))
def test_keys__are_stable(text):
    assert squeeze(squeeze(text)) == squeeze(text)
    assert label_key(label_key(text)) == label_key(text)


@pytest.mark.parametrize(("first", "second"),
                         [("Benign", "benign"), ("Benign", "benign."), ("no finding", "no  Finding"),
                          ("na\u00efve", "nai\u0308ve"), ("1", "1.0")])  # fmt: skip
def test_label_key__is_equal_for_spellings_of_a_label(first, second):
    assert label_key(first) == label_key(second)


@pytest.mark.parametrize(("first", "second"), [("grade 1", "grade 2"), ("0.5", "0.05"), ("T1", "T10"), ("a", "a+")])
def test_label_key__differs_between_labels(first, second):
    assert label_key(first) != label_key(second)


@pytest.mark.parametrize(
    "text",
    ["", " ", "\u200b", "\ufeff\u00a0", "NA", "n/a", "N.A.", "#N/A", "<NA>", "NaN", "null", "NULL", "(null)", "None",
     "\\N", "nil", "unknown", "Unknown ", "UNBEKANNT", "unk", "-", "--", "---", "\u2014", ".", "..", "?", "???", "_",
     "missing",
     "Not Available", "not applicable", "k.A.",
     "TBD", "(blank)", "[unknown]", "unk.", "#", "[]", "N\\A", "ANONYMOUS", "no data", "#REF!",
     "#DIV/0!", "NaT", "undefined"],
)  # fmt: skip
def test_is_missing__accepts_usual_markers(text):
    assert is_missing(text)


@pytest.mark.parametrize(
    "text", ["0", "1", "a", "normal", "Nadia", "Nana", "no", "+", "x", "None-1", "unknown primary", "P-1"]
)
def test_is_missing__rejects_real_values(text):
    assert not is_missing(text)


@pytest.mark.parametrize(
    ("text", "rounded"), [("1.23457E+15", True), ("1,23457E+15", True), ("1E5", False), ("7.5", False)]
)
def test_is_rounded_number__recognizes_spreadsheet_notation(text, rounded):
    assert is_rounded_number(text) is rounded


def test_similar__most_frequent_spelling_is_first():
    assert similar(["p1", "P1", "p1", "p2", "P3"], patient_key) == [["p1", "P1"]]
    assert similar(["P1", "p1"], patient_key) == [["P1", "p1"]]


def test_spell__shows_code_points_of_letters_that_look_the_same():
    assert spell("P1", "p1") == ["'P1'", "'p1'"]
    assert spell("M\u00fcller", "Mu\u0308ller") == ["'M\\xfcller'", "'Mu\\u0308ller'"]
    assert spell("P1", "\u04201") == ["'P1'", "'\\u04201'"]
    assert spell("P1", "P1\u200b") == ["'P1'", "'P1\\u200b'"]
    assert spell("\u60a3\u80051", "\u60a3\u80052") == ["'\u60a3\u80051'", "'\u60a3\u80052'"]


@pytest.mark.parametrize("text", ["1E+15", "1.23457E15", "1e+05", "1,2E+16"])
def test_is_rounded_number__accepts_numbers_without_decimals_or_sign(text):
    assert is_rounded_number(text)


@pytest.mark.parametrize("text", ["1E5", "2E10", "A1.5E3", "15", "1.5"])
def test_is_rounded_number__rejects_codes(text):
    assert not is_rounded_number(text)
