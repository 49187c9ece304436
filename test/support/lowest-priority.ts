// A test file that only computes takes what others leave of the cores. Its process ends with it.

import { constants, setPriority } from 'node:os'

setPriority(constants.priority.PRIORITY_LOW)
