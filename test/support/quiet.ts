// The logger and the meter of what runs under a benchmark: only errors are told, nothing is counted.

import type { Logger, Meter } from '../../schemas/ports.ts'

export const quiet: Logger = { debug() {}, info() {}, warn() {}, error: (fields, message) => console.error(message, fields), child: () => quiet }
export const deaf: Meter = { count() {}, gauge() {} }
