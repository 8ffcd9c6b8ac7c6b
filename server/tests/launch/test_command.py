import os
import sys
from pathlib import Path

import pytest

from nextitem_server import InvalidOption
from nextitem_server.access import Access
from nextitem_server.launch.command import (
    RESERVED,
    check_options,
    expected_services,
    stop_grace_s,
    tritonserver_command,
)
from nextitem_server.launch.layout import environment, make_work_folder
from nextitem_server.launch.locate import Installation, locate
from nextitem_server.options import option_value
from nextitem_server.ports import Ports


@pytest.mark.parametrize("name", RESERVED)
def test_reserved_options_name_their_replacement(name):
    with pytest.raises(InvalidOption, match=f"^{name} .*Use "):
        check_options([f"{name}=1"])


def test_option_value():
    assert option_value(["--a=1", "--b", "2"], "--a") == "1"
    assert option_value(["--a=1", "--b", "2"], "--b") == "2"
    assert option_value(["--ab=1"], "--a") is None


def test_services_that_are_switched_off_are_not_waited_for():
    assert expected_services(["--allow-grpc=false"]) == {"http", "metrics"}
    assert expected_services(["--allow-metrics", "0"]) == {"http", "grpc"}


def test_grace_follows_tritons_own_limit():
    assert stop_grace_s(["--exit-timeout-secs=60"]) == 65.0


def test_every_service_is_bound_to_the_host(tmp_path, private_tmp):
    folder = make_work_folder(locate(), [tmp_path])
    ports = Ports(http=1, grpc=2, metrics=3)
    command = tritonserver_command(folder, ["shop"], "127.0.0.1", ports, Access((), ""), ["--x"])
    for service, port in ports.items():
        assert f"--{service}-address=127.0.0.1" in command
        assert f"--{service}-port={port}" in command
    assert f"--model-repository={tmp_path}" in command
    assert command[-1] == "--x"
    folder.remove()
    assert list(private_tmp.iterdir()) == []


def test_the_environment_of_the_stub():
    inherited = {"PATH": "/usr/bin", "LD_LIBRARY_PATH": "/mine"}
    variables = environment(Installation(Path("t"), (Path("/a"), Path("/b"))), inherited)
    assert variables["PATH"].split(os.pathsep) == [str(Path(sys.executable).parent), "/usr/bin"]
    assert variables["LD_LIBRARY_PATH"].split(os.pathsep) == ["/a", "/b", "/mine"]
    assert variables["OMP_NUM_THREADS"] == "1"
    assert (variables["MALLOC_ARENA_MAX"], variables["MALLOC_MMAP_THRESHOLD_"]) == ("2", "131072")
    kept = environment(Installation(Path("t")), {"OMP_NUM_THREADS": "4", "MALLOC_ARENA_MAX": "8"})
    assert (kept["OMP_NUM_THREADS"], kept["MALLOC_ARENA_MAX"]) == ("4", "8")
