"""Volumes onto the disk: raw first, lossless and synced; restored maps after. See layout.md."""

from care_live.recorded.run_records import STORED_PRODUCTS, StoredProduct
from care_live.store.claim import Claim, claim_run
from care_live.store.disk import Disk, refuse_unfit
from care_live.store.fsync import Syncs, nearest_folder
from care_live.store.ledger import Ledger
from care_live.store.lock import RunLock
from care_live.store.reader import RunReader
from care_live.store.same_run import check_same_plan
from care_live.store.verify import Problem, VerifyReport, verify
from care_live.store.writer import RunWriter, open_run
from care_live.store.zarr_arrays import import_zarr

__all__ = [
    "STORED_PRODUCTS",
    "Claim",
    "Disk",
    "Ledger",
    "Problem",
    "RunLock",
    "RunReader",
    "RunWriter",
    "StoredProduct",
    "Syncs",
    "VerifyReport",
    "check_same_plan",
    "claim_run",
    "import_zarr",
    "nearest_folder",
    "open_run",
    "refuse_unfit",
    "verify",
]
