"""Writes deploy/completion/ from the parser: python tools/completions.py [--check].

For three shells, by shtab, beforehand: one that asked the tool itself at each Tab would wait for
Python.
"""

import argparse
import re
import sys
from pathlib import Path

import shtab
import written

from mmaplock_bt import NAME, command_line, resources, usage
from mmaplock_bt.spec import causes

FOLDER = Path(__file__).resolve().parent.parent / "deploy/completion"
FILES = {"bash": f"{NAME}.bash", "zsh": f"_{NAME}", "fish": f"{NAME}.fish"}
OWN = '"${XDG_CONFIG_HOME:-$HOME/.config}"/mmaplock-bt/profiles'
# shtab makes the candidates of a function with `file` in its name look, and be quoted, as files.
PROFILES = {
    "bash": "_mmaplock_bt_profile_or_file",
    "zsh": "_mmaplock_bt_profiles",
    "fish": "(__mmaplock_bt_profiles)",
}
PREAMBLES = {
    "bash": f"""\
_mmaplock_bt_profile_or_file() {{
  local own
  for own in {OWN}/*.yaml; do
    own=${{own##*/}}
    compgen -W "${{own%.yaml}}" -X '[*]' -- "$1"
  done
  compgen -W "NAMES" -- "$1"
  compgen -f -X '!*.yaml' -- "$1"
  compgen -d -- "$1"
}}

_mmaplock_bt_users() {{
  compgen -u -- "$1"
}}

_mmaplock_bt_processes() {{
  compgen -W "$(cd /proc && echo [0-9]*)" -- "$1"
}}
""",
    "zsh": f"""\
_mmaplock_bt_profiles() {{
  local -a own=({OWN}/*.yaml(N:t:r))
  _alternative "profiles:profile:(NAMES $own)" 'files:file:_files -g "*.yaml"'
}}
""",
    "fish": """\
function __mmaplock_bt_profiles
  set -q XDG_CONFIG_HOME; or set -l XDG_CONFIG_HOME ~/.config
  printf '%s\\n' NAMES
  for own in $XDG_CONFIG_HOME/mmaplock-bt/profiles/*.yaml
    basename $own .yaml
  end
  __fish_complete_suffix .yaml
end
""",
}
# After the first -- the words are another program's.
OF_THE_COMMAND = """

_mmaplock_bt() {
  local at
  for ((at = 1; at < COMP_CWORD; at++)); do
    if [[ ${COMP_WORDS[at]} == -- ]]; then
      COMPREPLY=()
      # bash-completion's
      declare -F _command_offset >/dev/null && _command_offset $((at + 1))
      return
    fi
  done
  _shtab_mmaplock_bt
}

complete -o bashdefault -F _mmaplock_bt mmaplock-bt
"""
# By the option, else by what stands for its value.
VALUES = {
    "user": {"bash": "_mmaplock_bt_users", "zsh": "_users", "fish": "(__fish_complete_users)"},
    "PID": {"bash": "_mmaplock_bt_processes", "zsh": "_pids", "fish": "(__fish_complete_pids)"},
    "PROFILE": PROFILES,
    "file": PROFILES,  # check's
    **dict.fromkeys(("FILE", "RESULT", "CONFIG", "PATH", "BASE", "NEW"), shtab.FILE),
    "DIR": shtab.DIRECTORY,
}


def texts() -> dict[Path, str]:
    """Returns each shell's file and what it holds."""
    parser, verbs = command_line.parsers()
    for verb in verbs.values():
        for action in verb._actions:
            _describe(action)
    preamble = {shell: text.replace("NAMES", _names()) for shell, text in PREAMBLES.items()}
    made = {shell: shtab.complete(parser, shell, preamble=preamble[shell]) for shell in FILES}
    made["bash"] += OF_THE_COMMAND
    return {FOLDER / FILES[shell]: text.rstrip() + "\n" for shell, text in made.items()}


def _names() -> str:
    return " ".join(resources.shipped_names("profiles", usage.SUFFIXES[0]))


def _describe(action: argparse.Action) -> None:
    if action.metavar == "CAUSE|TERM":
        action.choices = _words()
    elif found := VALUES.get(action.dest) or VALUES.get(str(action.metavar)):
        action.complete = found  # type: ignore[attr-defined]


def _words() -> list[str]:
    """What names a cause or a term without quotes; one of several words is completed by each."""
    names = [*causes.causes(), *causes.terms()]
    return sorted({word for name in names for word in re.findall(r"[\w.-]+", name)})


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    sys.exit(written.main(sys.argv[1:], texts()))
