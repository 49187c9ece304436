// The mark of a start: a file that decides, once and for all, whether the start of an order took place.
//
// Between the fork and the note of its pid lies a gap in which we may be killed; looking for a living child afterwards
// cannot tell "never started" from "started and ended already", nor see one that is about to start. So the child makes
// the mark itself, exclusively, as the last thing before it becomes the program, and recovery makes the same mark first if
// it can: whoever comes second does not start. Marks are numbered, for a claimed one is used up.
//
//   child made it  → the start took place (`yes`)      recovery made it → it did not and never will (`no`)

import { createHash } from 'node:crypto'
import { linkSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const CLAIMED = 'claimed' // What recovery writes; the child's mark is empty.
const MARKS_MAX = 100 // Of one key: the executor gives up after a few attempts.
const KEEP_MS = 86_400_000 // A child that is this late does not exist.
const PREFIX = 'start-'

/**
 * Runs the program only if the mark ($0) can be made. The text is constant; program and arguments are positional
 * parameters, which a shell hands on and does not read.
 */
export const MARKING_LAUNCHER = ['/bin/sh', '-c', 'set -C; : > "$0" || exit 97; exec "$@"'] as const

/** Path of the next unused mark of the order, for its child to make. Removes marks of long ago. */
export function nextMark(runDir: string, key: string): string {
  mkdirSync(runDir, { recursive: true, mode: 0o700 })
  for (const name of readdirSync(runDir)) {
    const file = join(runDir, name)
    if (name.startsWith(PREFIX) && Date.now() - (statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0) > KEEP_MS) rmSync(file, { force: true })
  }
  let number = 0
  while (number < MARKS_MAX && read(markFile(runDir, key, number)) !== undefined) number++
  return markFile(runDir, key, number)
}

/** Whether a start of the order took place. After `no`, none that is still under way will. */
export function decideStart(runDir: string, key: string): 'yes' | 'no' | 'unknown' {
  mkdirSync(runDir, { recursive: true, mode: 0o700 })
  for (let number = 0; number < MARKS_MAX; number++) {
    const file = markFile(runDir, key, number)
    const found = read(file) ?? (claim(file) ? 'new' : read(file))
    if (found === 'new') return 'no'
    if (found === '') return 'yes'
  }
  return 'unknown'
}

/** Makes the mark with its content in one stroke. @returns false when it is there already */
function claim(file: string): boolean {
  const written = `${file}.claim`
  writeFileSync(written, CLAIMED)
  try {
    linkSync(written, file)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  } finally {
    rmSync(written, { force: true })
  }
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

function markFile(runDir: string, key: string, number: number): string {
  return join(runDir, `${PREFIX}${createHash('sha256').update(key).digest('hex').slice(0, 32)}-${number}`)
}
