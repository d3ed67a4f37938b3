"""Machines as /proc and /sys tell of them: which cores are alike, which are fast, and what they can do."""

from __future__ import annotations

from pathlib import Path

from deploy_prune.timing.cores import CoreClass, list_core_classes, list_features, name_by_cores, read_board

FEATURES_OF_2018 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def arm(root: Path, parts: list[str], features: str = FEATURES_OF_2018, implementer: str = "0x41") -> None:
    """A /proc/cpuinfo with a core per part."""
    blocks = (
        f"processor\t: {number}\nBogoMIPS\t: 108.00\nFeatures\t: {features}\nCPU implementer\t: {implementer}\n"
        f"CPU architecture: 8\nCPU variant\t: 0x4\nCPU part\t: {part}\nCPU revision\t: 1\n"
        for number, part in enumerate(parts)
    )
    write(root, "proc/cpuinfo", "\n".join(blocks))


def clocks(root: Path, khz: list[int], capacities: list[int] | None = None) -> None:
    for core, clock in enumerate(khz):
        write(root, f"sys/devices/system/cpu/cpu{core}/cpufreq/cpuinfo_max_freq", f"{clock}\n")
    for core, capacity in enumerate(capacities or ()):
        write(root, f"sys/devices/system/cpu/cpu{core}/cpu_capacity", f"{capacity}\n")


def test_a_board_of_equal_cores_names_itself_and_them(tmp_path: Path) -> None:
    arm(tmp_path, ["0xd08"] * 4, "fp asimd evtstrm crc32 cpuid")
    clocks(tmp_path, [1_800_000] * 4)
    write(tmp_path, "proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0")
    assert list_core_classes((0, 1, 2, 3), "aarch64", tmp_path) == (CoreClass("Cortex-A72", (0, 1, 2, 3), 1800.0),)
    assert name_by_cores(tmp_path, (0, 1, 2, 3)) == "Raspberry Pi 4 Model B Rev 1.4 (4x Cortex-A72)"
    assert list_features(tmp_path) == ()


def test_fast_cores_come_first_by_their_clock(tmp_path: Path) -> None:
    arm(tmp_path, ["0xd05"] * 4 + ["0xd0b"] * 3 + ["0xd44"])
    clocks(tmp_path, [1_800_000] * 4 + [2_400_000] * 3 + [2_800_000])
    classes = list_core_classes(range(8), "", tmp_path)
    assert [(each.name, each.cores) for each in classes] == [
        ("Cortex-X1", (7,)), ("Cortex-A76", (4, 5, 6)), ("Cortex-A55", (0, 1, 2, 3)),
    ]  # fmt: skip
    assert list_features(tmp_path) == ("atomics", "asimddp", "fp16")


def test_where_clocks_are_equal_the_kernels_capacity_decides(tmp_path: Path) -> None:
    arm(tmp_path, ["0xd41"] * 4)
    clocks(tmp_path, [2_000_000] * 4, [400, 400, 1024, 1024])
    assert [each.cores for each in list_core_classes(range(4), "", tmp_path)] == [(2, 3), (0, 1)]


def test_where_nothing_else_is_told_the_parts_that_run_in_order_are_the_little_ones(tmp_path: Path) -> None:
    arm(tmp_path, ["0xd03", "0xd03", "0xd08", "0xd08"])
    classes = list_core_classes(range(4), "", tmp_path)
    assert [(each.name, each.cores, each.max_mhz) for each in classes] == [
        ("Cortex-A72", (2, 3), None), ("Cortex-A53", (0, 1), None),
    ]  # fmt: skip


def test_cores_that_may_not_be_used_are_left_out(tmp_path: Path) -> None:
    arm(tmp_path, ["0xd05"] * 2 + ["0xd0b"] * 2)
    assert [each.cores for each in list_core_classes((1, 3), "", tmp_path)] == [(3,), (1,)]


def test_a_feature_that_one_core_lacks_is_none_of_the_machine(tmp_path: Path) -> None:
    arm(tmp_path, ["0xd0b"])
    text = (tmp_path / "proc/cpuinfo").read_text()
    write(
        tmp_path, "proc/cpuinfo", text + "\n" + text.replace("atomics ", "").replace("processor\t: 0", "processor\t: 1")
    )
    assert list_features(tmp_path) == ("asimddp", "fp16")


def test_a_part_that_nobody_knows_is_told_by_its_numbers(tmp_path: Path) -> None:
    arm(tmp_path, ["0x022"], implementer="0x61")
    assert list_core_classes((0,), "", tmp_path)[0].name == "part 0x22 of implementer 0x61"


def test_a_machine_that_tells_nothing_has_its_cores_all_the_same(tmp_path: Path) -> None:
    assert list_core_classes((0, 1), "riscv64", tmp_path) == (CoreClass("riscv64", (0, 1), None),)
    assert name_by_cores(tmp_path, (0, 1)) is None and read_board(tmp_path) is None and list_features(tmp_path) == ()
