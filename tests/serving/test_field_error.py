from medtune.serving.field_error import MAX_CHARS, FieldError, one_of, show_json, wrong_field


def test_wrong_field__quotes_the_key_and_shows_json():
    assert wrong_field("files", 7, "a mapping") == 'key "files" is 7: expected a mapping'
    assert wrong_field("task.kind", None, "a string") == 'key "task.kind" is missing or null: expected a string'
    assert wrong_field("a", {"b": True}, "a string") == 'key "a" is {"b": true}: expected a string'


def test_within__adds_the_section():
    error = FieldError("patch", [8], "three numbers").within("volumes")
    assert str(error) == 'key "volumes.patch" is [8]: expected three numbers'


def test_show_json__is_short_and_printable():
    assert show_json("\u00fc") == '"\u00fc"'
    assert show_json("\u202e\n") == '"\\u202e\\n"'
    assert len(show_json(list(range(1000)))) == MAX_CHARS + 3


def test_one_of__joins_with_or():
    assert one_of(("a",)) == '"a"'
    assert one_of(["a", "b", "c"]) == '"a", "b" or "c"'
