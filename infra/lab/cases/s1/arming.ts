// How the lab and the Homeostat under test speak of crash points: files of the run's folder.

import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Point } from './points.ts'

/** Names the folder to the threads and processes of the Homeostat under test. */
export const FOLDER_VARIABLE = 'HOMEOSTAT_LAB_FOLDER'

export interface Crash {
  atMs: number
  point: Point
}

/** Each of them fires once, whichever is passed first. */
export const arm = (folder: string, points: readonly Point[]): void => writeFileSync(join(folder, 'armed'), points.join('\n'))
export const disarm = (folder: string): void => rmSync(join(folder, 'armed'), { force: true })
/** The wall clock of the Homeostat under test, against the machine's. */
export const stepClock = (folder: string, ms: number): void => writeFileSync(join(folder, 'clock-step'), String(ms))

export function crashes(folder: string): Crash[] {
  const file = join(folder, 'crashes.jsonl')
  if (!existsSync(file)) return []
  const lines = readFileSync(file, 'utf8').split('\n')
  return lines.slice(0, -1).map(line => JSON.parse(line) as Crash)
}
