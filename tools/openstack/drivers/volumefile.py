# SPDX-License-Identifier: Apache-2.0
"""A Cinder driver that keeps each volume and each snapshot as a sparse file named after its id.

The files are what os-brick's "local" connector hands to cinder-backup, so backups, restores and images hold what a test
wrote into them. A GiB of a volume is file_bytes_per_gib bytes of its file: Cinder counts in whole GiB, and a backup reads,
hashes and compresses every byte.

Steps at which a test may ask for a fault (see fault.py): create, delete, extend, snapshot, unsnapshot, revert, connect
(what backups and restores need first) and image (both ways).
"""
import os
import subprocess

from oslo_config import cfg

from cinder import interface
from cinder.image import image_utils
from cinder.volume import configuration
from cinder.volume import driver
from cinder.volume import volume_utils

from fault import provoke

OPTIONS = [
    cfg.StrOpt("file_folder", help="where the files lie"),
    cfg.IntOpt("file_bytes_per_gib", default=1 << 30, help="bytes of a file for each GiB of the volume"),
]
cfg.CONF.register_opts(OPTIONS, group=configuration.SHARED_CONF_GROUP)


def asked(resource):
    """The texts in which a volume or snapshot asks for faults."""
    return resource.display_name, (resource.metadata or {}).get("fault")


def copy(source, target):
    subprocess.run(["cp", "--sparse=always", source, target], check=True)


def remove(path):
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass  # it was never made, or an earlier attempt to delete it got this far


@interface.volumedriver
class Driver(driver.VolumeDriver):
    VERSION = "1"
    CI_WIKI_NAME = "none"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.configuration.append_config_values(OPTIONS)
        self.folder = self.configuration.file_folder

    @classmethod
    def get_driver_options(cls):
        return OPTIONS

    def do_setup(self, context):
        os.makedirs(self.folder, exist_ok=True)

    def check_for_setup_error(self):
        pass

    def volume_path(self, volume):
        return os.path.join(self.folder, "volume-" + volume.id)

    def snapshot_path(self, snapshot):
        return os.path.join(self.folder, "snapshot-" + snapshot.id)

    local_path = volume_path

    def grow(self, volume, gib=None):
        """Makes the file as long as the volume is large; never shorter, images may need more."""
        length = (gib or volume.size) * self.configuration.file_bytes_per_gib
        with open(self.volume_path(volume), "ab") as file:
            if file.tell() < length:
                file.truncate(length)

    # --- volumes

    def create_volume(self, volume):
        provoke("create", *asked(volume))
        self.grow(volume)

    def create_volume_from_snapshot(self, volume, snapshot):
        provoke("create", *asked(volume))
        copy(self.snapshot_path(snapshot), self.volume_path(volume))
        self.grow(volume)

    def create_cloned_volume(self, volume, src_vref):
        provoke("create", *asked(volume))
        copy(self.volume_path(src_vref), self.volume_path(volume))
        self.grow(volume)

    def delete_volume(self, volume):
        provoke("delete", *asked(volume))
        remove(self.volume_path(volume))

    def extend_volume(self, volume, new_size):
        provoke("extend", *asked(volume))
        self.grow(volume, new_size)

    def update_migrated_volume(self, context, volume, new_volume, original_volume_status):
        """Restoring over a volume never moves it, nor does anything else here: there is one backend."""
        raise NotImplementedError()

    # --- snapshots

    def create_snapshot(self, snapshot):
        provoke("snapshot", *asked(snapshot), *asked(snapshot.volume))
        copy(self.volume_path(snapshot.volume), self.snapshot_path(snapshot))

    def delete_snapshot(self, snapshot):
        provoke("unsnapshot", *asked(snapshot))
        remove(self.snapshot_path(snapshot))

    def revert_to_snapshot(self, context, volume, snapshot):
        provoke("revert", *asked(volume), *asked(snapshot))
        copy(self.snapshot_path(snapshot), self.volume_path(volume))
        self.grow(volume)

    # --- images

    def copy_image_to_volume(self, context, volume, image_service, image_id, disable_sparse=False):
        provoke("image", *asked(volume))
        image_utils.fetch_to_raw(context, image_service, image_id, self.volume_path(volume),
                                 self.configuration.volume_dd_blocksize, size=volume.size, run_as_root=False)
        self.grow(volume)

    def copy_volume_to_image(self, context, volume, image_service, image_meta):
        provoke("image", *asked(volume))
        volume_utils.upload_volume(context, image_service, image_meta, self.volume_path(volume), volume,
                                   run_as_root=False)

    # --- connections

    def ensure_export(self, context, volume):
        pass

    def create_export(self, context, volume, connector):
        pass

    def remove_export(self, context, volume):
        pass

    def initialize_connection(self, volume, connector, **kwargs):
        provoke("connect", *asked(volume))
        return {"driver_volume_type": "local", "data": {"device_path": self.volume_path(volume), "volume_id": volume.id}}

    def terminate_connection(self, volume, connector, **kwargs):
        pass

    def _update_volume_stats(self):
        name = self.configuration.volume_backend_name
        self._stats = {
            "volume_backend_name": name, "vendor_name": "Karbor", "driver_version": self.VERSION,
            "storage_protocol": "local",
            "pools": [{
                "pool_name": name, "total_capacity_gb": "infinite", "free_capacity_gb": "infinite",
                "reserved_percentage": 0, "QoS_support": False, "multiattach": True,
            }],
        }
