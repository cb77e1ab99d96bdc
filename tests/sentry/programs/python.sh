#!/bin/bash
# python3 with its own tests.
python3 -m test -q test_subprocess.ProcessTestCase test_threading test_mmap test_select test_selectors test_pty test_tempfile test_os 2>&1 | grep -E '^(test .* failed|All|Result|[0-9]+ tests? (OK|failed))'
python3 /opt/programs/threads.py
