# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The checks of device files: those of vDPA, those of the kernel's own devices. Those of back-ends that hold here too say nodes=True."""

from vh.check.node import vdpa, vhost  # isort: skip # noqa: F401 - each adds its rows to the table
