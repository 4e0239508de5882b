"""What the public FOCUS validator says of an export: `python -m tests.money.focus_check FILE VALIDATOR`.

VALIDATOR is the environment it is installed in (Python >= 3.12; `make focus-check` makes one). Its exit code says
nothing, so its answer is read. The rules in ALLOWED fail whatever one writes: defects of the bundled rules.
"""

import re
import subprocess
import sys
from pathlib import Path

CRITERIA = (
    "ACCOUNT_NAMING", "AVAILABILITY_ZONE", "MULTIPLE_PRICING_CATEGORIES", "NEGOTIATED_PRICING", "PUBLIC_PRICE_LIST",
    "USAGE_MEASUREMENT", "UNIT_PRICING", "SUB_ACCOUNT", "BILLING_BASED_ON_PROVISIONED_RESOURCES",
    "RESOURCE_TYPE_ASSIGNMENT", "REGION", "TAGGING", "CAPACITY_RESERVATION",
)  # fmt: skip
ALLOWED = {
    "InvoiceId-C-004-C", "InvoiceId-C-005-C", "CapacityReservationStatus-C-000-C", "CapacityReservationStatus-C-002-C",
    "CapacityReservationStatus-C-003-C", "CapacityReservationStatus-C-004-C",
}  # fmt: skip


def verdict(file: Path, validator: Path) -> str:
    """The validator's whole answer."""
    packages = next(validator.glob("lib/python3.*/site-packages")).resolve()
    command = [
        str((validator / "bin/focus-validator").absolute()), "--data-file", str(file.resolve()), "--block-download",
        "--validate-version", "1.2", "--applicability-criteria", ",".join(f"{one}_SUPPORTED" for one in CRITERIA),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=packages, capture_output=True, text=True, timeout=480, check=False)
    return done.stdout + done.stderr


def failed(said: str) -> set[str]:
    """Rules that failed; ValueError where the validator gave no verdict at all."""
    totals = re.search(r"Total: (\d+) \| Pass: (\d+) \| Fail: (\d+)", said)
    if totals is None or int(totals[2]) == 0:
        raise ValueError(f"the validator said nothing that can be read: {said[-2000:]}")
    return set(re.findall(r"([A-Za-z]+(?:-[A-Z0-9]+)+): FAIL\b", said))


def main(file: str, validator: str) -> int:
    said = verdict(Path(file), Path(validator))
    wrong = failed(said)
    print("\n".join(line for line in said.splitlines() if line.startswith("Total:")))
    print(f"known defects of the validator's rules: {', '.join(sorted(wrong & ALLOWED)) or 'none'}")
    print(f"failures: {', '.join(sorted(wrong - ALLOWED)) or 'none'}")
    return 1 if wrong - ALLOWED else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
