"""Lets the wall clock of a child process jump while it runs; its monotonic clock goes on undisturbed."""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
from pathlib import Path

_SOURCE = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *skew;

__attribute__((constructor)) static void map_skew(void) {
    const char *path = getenv("CLOCK_SKEW_FILE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *page = mmap(NULL, sizeof *skew, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (page != MAP_FAILED) skew = page;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && skew && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += *skew;
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &precise)) return -1;
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *result) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (result) *result = now.tv_sec;
    return now.tv_sec;
}
"""

COMPILER = shutil.which("gcc") or shutil.which("cc")


def build_library(folder: Path) -> Path:
    """Compile the library that replaces the C library's clocks."""
    assert COMPILER
    source, library = folder / "skewed_clock.c", folder / "skewed_clock.so"
    source.write_text(_SOURCE)
    subprocess.run(
        [COMPILER, "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, source], check=True
    )
    return library


class SkewedClock:
    """The clock of one process: start it with ``environment``."""

    def __init__(self, library: Path, file: Path) -> None:
        file.write_bytes(struct.pack("=q", 0))
        with file.open("r+b") as opened:
            self._page = mmap.mmap(opened.fileno(), 8)
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_SKEW_FILE": str(file)}

    def jump_to(self, seconds: int) -> None:
        """Set how far the process's clock is ahead of the real one, from now on."""
        self._page[:] = struct.pack("=q", seconds)
