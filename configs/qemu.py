# SPDX-License-Identifier: GPL-2.0
# kunit.py's own QEMU configuration of $ARCH with one accelerator, $ACCEL. Newer kunit.py asks for KVM first,
# and a /dev/kvm can open and then hang the guest; QEMU takes no later option to undo the first.
import importlib.util
import os

_path = os.path.join('tools/testing/kunit/qemu_configs', os.environ['ARCH'] + '.py')
# Under our own name, so that the file's relative import works as it does when kunit.py loads it.
_spec = importlib.util.spec_from_file_location(__name__, _path)
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)

QEMU_ARCH = _module.QEMU_ARCH
_params = QEMU_ARCH.extra_qemu_params
while '-accel' in _params:
	_at = _params.index('-accel')
	del _params[_at:_at + 2]
_params += ['-accel', os.environ['ACCEL']]
