# SPDX-License-Identifier: Apache-2.0
"""A Manila driver that keeps each share and each snapshot as a folder named after its id. Nobody exports them: a test
reads and writes the folders as if it had mounted them. Access rules are accepted and mean nothing.

Steps at which the name or description of a share may ask for a fault (see fault.py): create, delete, extend, shrink,
access, snapshot, unsnapshot and revert. Those of snapshots are not shown to a driver.
"""
import os
import shutil

from oslo_config import cfg

from manila.share import driver

from fault import provoke

OPTIONS = [cfg.StrOpt("share_folder", help="where the folders lie")]
cfg.CONF.register_opts(OPTIONS)


def asked(share):
    """The texts in which a share asks for faults."""
    return share["display_name"], share["display_description"]


def copy(source, target):
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, symlinks=True)


class Driver(driver.ShareDriver):
    def __init__(self, *args, **kwargs):
        super().__init__(False, *args, config_opts=[OPTIONS], **kwargs)

    def do_setup(self, context):
        os.makedirs(self.configuration.share_folder, exist_ok=True)

    def check_for_setup_error(self):
        pass

    # A share has instances, of which a driver is shown one; here each has one, and the share's id is what callers know.

    def share_path(self, instance):
        return os.path.join(self.configuration.share_folder, "share-" + instance["share_id"])

    def snapshot_path(self, instance):
        return os.path.join(self.configuration.share_folder, "snapshot-" + instance["snapshot_id"])

    def exports(self, instance):
        return [{"path": "127.0.0.1:" + self.share_path(instance), "is_admin_only": False, "metadata": {"preferred": True}}]

    # --- shares

    def create_share(self, context, share, share_server=None):
        provoke("create", *asked(share))
        os.makedirs(self.share_path(share))
        return self.exports(share)

    def create_share_from_snapshot(self, context, share, snapshot, share_server=None, parent_share=None):
        provoke("create", *asked(share))
        copy(self.snapshot_path(snapshot), self.share_path(share))
        return self.exports(share)

    def delete_share(self, context, share, share_server=None):
        provoke("delete", *asked(share))
        shutil.rmtree(self.share_path(share), ignore_errors=True)

    def ensure_share(self, context, share, share_server=None):
        return self.exports(share)

    def extend_share(self, share, new_size, share_server=None):
        provoke("extend", *asked(share))

    def shrink_share(self, share, new_size, share_server=None):
        provoke("shrink", *asked(share))

    def update_access(self, context, share, access_rules, add_rules, delete_rules, share_server=None):
        provoke("access", *asked(share))

    # --- snapshots

    def create_snapshot(self, context, snapshot, share_server=None):
        provoke("snapshot", *asked(snapshot["share"]))
        copy(self.share_path(snapshot["share"]), self.snapshot_path(snapshot))

    def delete_snapshot(self, context, snapshot, share_server=None):
        provoke("unsnapshot", *asked(snapshot["share"]))
        shutil.rmtree(self.snapshot_path(snapshot), ignore_errors=True)

    def revert_to_snapshot(self, context, snapshot, share_access_rules, snapshot_access_rules, share_server=None):
        provoke("revert", *asked(snapshot["share"]))
        copy(self.snapshot_path(snapshot), self.share_path(snapshot["share"]))

    def snapshot_update_access(self, context, snapshot, access_rules, add_rules, delete_rules, share_server=None):
        pass

    # --- what the scheduler asks

    def get_network_allocations_number(self):
        return 0

    def _update_share_stats(self, data=None):
        super()._update_share_stats({
            "share_backend_name": self.configuration.share_backend_name, "vendor_name": "Karbor", "driver_version": "1",
            "storage_protocol": "NFS_CIFS", "total_capacity_gb": 1000000, "free_capacity_gb": 1000000,
            "snapshot_support": True, "create_share_from_snapshot_support": True,
            "revert_to_snapshot_support": True, "mount_snapshot_support": False,
        })
