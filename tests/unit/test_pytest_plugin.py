"""The plugin in a pytest of its own."""


def test_a_wrong_setting_is_told(pytester):
    pytester.makeini("[pytest]\nmmaplock_inconclusive = maybe\n")
    done = pytester.runpytest_subprocess()
    assert "mmaplock_inconclusive is skip or fail" in done.stderr.str()
