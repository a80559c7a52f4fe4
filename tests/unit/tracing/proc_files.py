"""Threads in a /proc of files."""


def put(proc, pid, tid, frames, state="D", *, wchan=None):
    folder = proc / str(pid) / "task" / str(tid)
    folder.mkdir(parents=True)
    (folder / "wchan").write_text(frames[0] if wchan is None else wchan)
    (folder / "comm").write_text(f"x{tid}\n")
    (folder / "stat").write_text(f"{tid} (a) b) {state} 1 1")
    (folder / "stack").write_text("".join(f"[<0>] {one}+0x1a/0xb0\n" for one in frames))
