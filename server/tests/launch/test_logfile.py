import os
import time

import pytest

from nextitem_server import InvalidOption
from nextitem_server.launch.logfile import LogLimit, cut, earlier, open_log


def test_what_is_longer_than_the_limit_goes_to_a_second_file_and_writing_goes_on(tmp_path):
    path = tmp_path / "triton.log"
    with open_log(path) as log:
        log.write(b"0123456789")
        log.flush()
        assert not cut(path, 10)
        log.write(b"abcdef")
        log.flush()
        assert cut(path, 10)
        log.write(b"on")
        log.flush()
    assert path.read_bytes() == b"on"
    assert earlier(path).read_bytes() == b"6789abcdef"


def test_a_log_is_appended_to_and_only_what_is_new_is_read(tmp_path):
    path = tmp_path / "triton.log"
    path.write_text("of the last start\n")
    with open_log(path) as log:
        limit = LogLimit(path, 40, begin=log.tell())
        limit.start()
        assert limit.read() == ""
        log.write(b"of this one\n")
        log.flush()
        assert limit.read() == "of this one\n"
        assert path.read_text() == "of the last start\nof this one\n"
        log.write(b"more than the limit\n")
        log.flush()
        while path.stat().st_size:
            time.sleep(0.05)
        log.write(b"on\n")
        log.flush()
        limit.stop()
    assert limit.read() == "on\n"


def test_a_log_that_is_gone_is_no_matter(tmp_path):
    assert not cut(tmp_path / "none.log", 10)


def test_a_log_whose_second_file_cannot_be_written_is_cut_all_the_same(tmp_path):
    path = tmp_path / "triton.log"
    path.write_bytes(bytes(20))
    earlier(path).mkdir()
    assert cut(path, 10)
    assert path.read_bytes() == b""


def test_a_log_that_cannot_be_written(tmp_path):
    with pytest.raises(InvalidOption, match=r"log file .*none/kept.log cannot be written \(No such .*--log-file"):
        open_log(tmp_path / "none" / "kept.log")


def test_a_flood_stays_within_its_limits(tmp_path):
    path = tmp_path / "triton.log"
    with open_log(path) as log:
        limit = LogLimit(path, 1 << 20)
        limit.start()
        for _ in range(60):
            log.write(os.urandom(1 << 18))
            log.flush()
            time.sleep(0.02)
        time.sleep(0.6)
        limit.stop()
    assert path.stat().st_size <= 1 << 20
    assert earlier(path).stat().st_size == 1 << 20
