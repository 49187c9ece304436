// Every command that writes where its user says: a place that cannot be written is an error that says what, why and what to do.
// A hang is a failure too: a folder below /proc once made `score` try for ever.

import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { initFiles } from '../../../../pipeline/cli/init.ts'
import { registerScore } from '../../../../pipeline/cli/score.ts'
import { holdInstance } from '../../../../pipeline/instance.ts'
import { EmbeddedLog, type EmbeddedLogOptions } from '../../../../pipeline/log/embedded-log.ts'
import { makeFolder } from '../../../../pipeline/make-folder.ts'
import { configSchema } from '../../../../schemas/config.ts'
import { virtualClock } from '../../../support/virtual-clock.ts'
import { aClose, aRecord, at, run } from './analysis-rig.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'homeostat-write-'))
  writeFileSync(join(folder, 'a-file'), '')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

async function score(out: string): Promise<unknown> {
  writeFileSync(join(folder, 'queue.csv'), 'timestamp,depth\n2026-03-01 00:00:00,1\n2026-03-01 00:01:00,2\n')
  const program = new Command().exitOverride().configureOutput({ writeErr: () => undefined })
  registerScore(program, {
    loaded: () => ({ config: configSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat' }), file: undefined, overrides: new Map() }),
    output: () => ({ table: () => undefined, result: () => undefined, say: () => undefined }),
    clock: virtualClock(0),
    folder,
    stderr: { isTTY: false, write: () => true } as unknown as NodeJS.WriteStream
  })
  return program.parseAsync(['score', 'queue.csv', '--out', out], { from: 'user' })
}
const time = (second: number): string => new Date(at(second)).toISOString()
const backtest = (out: string) => run(['backtest', '--from', time(0), '--to', time(60), '--out', out])
const show = (svg: string) => run(['anomalies', 'show', 'ab12', '--svg', svg], [aRecord(), aClose()])
const init = async (out: string) => initFiles(out, true)

const FILE_IN_THE_WAY = /cannot be written \((EEXIST|ENOTDIR)\): a file is where a folder must be, or give another (--out|--svg|folder)$/
const NOT_IN_PROC = /^\/proc\S* cannot be written \(ENOENT\): nothing can be made in \/proc, or give another (--out|--svg|folder)$/
/** As root it is the file system that refuses. */
const FORBIDDEN = /cannot be written \((EACCES|EPERM|EROFS)\): (you may not write there|that file system is read-only), or give another/
const FULL = /cannot be written \(ENOSPC\): the disk is full, free some space, or give another (--out|--svg|folder)$/
/** Makes a file of that name one on a full disk. */
const full = (...path: string[]) => {
  mkdirSync(join(folder, ...path.slice(0, -1)), { recursive: true })
  symlinkSync('/dev/full', join(folder, ...path))
}
const inFile = () => join(folder, 'a-file', 'below')

const CASES: [string, (path: string) => Promise<unknown>, () => string, RegExp][] = [
  ['score --out below a file', score, inFile, FILE_IN_THE_WAY],
  ['score --out that is a file', score, () => join(folder, 'a-file'), FILE_IN_THE_WAY],
  ['score --out below /proc', score, () => '/proc/homeostat', NOT_IN_PROC],
  ['score --out far below /proc', score, () => '/proc/homeostat/a/b', NOT_IN_PROC],
  ['score --out where nobody may write', score, () => '/sys/homeostat', FORBIDDEN],
  ['score --out below a device', score, () => '/dev/full', FILE_IN_THE_WAY],
  ['score --out on a full disk', score, () => (full('out', 'queue.csv.part'), join(folder, 'out')), FULL],
  [
    'score --out whose file is a folder',
    score,
    () => (mkdirSync(join(folder, 'out/queue.csv'), { recursive: true }), join(folder, 'out')),
    /\(EISDIR\): it is a folder/
  ],
  ['backtest --out below a file', backtest, inFile, FILE_IN_THE_WAY],
  ['backtest --out below /proc', backtest, () => '/proc/homeostat', NOT_IN_PROC],
  ['backtest --out where nobody may write', backtest, () => '/sys/homeostat', FORBIDDEN],
  ['backtest --out on a full disk', backtest, () => (full('out', 'backtest.json'), join(folder, 'out')), FULL],
  ['anomalies show --svg below a file', show, inFile, FILE_IN_THE_WAY],
  [
    'anomalies show --svg in a folder that is missing',
    show,
    () => join(folder, 'none', 'a.svg'),
    /: there is no folder \S+none, make it, or give another --svg$/
  ],
  ['anomalies show --svg that is a folder', show, () => folder, /\(EISDIR\): it is a folder, or give another --svg$/],
  ['anomalies show --svg in /proc', show, () => '/proc/a.svg', NOT_IN_PROC],
  ['anomalies show --svg where nobody may write', show, () => '/sys/a.svg', FORBIDDEN],
  ['anomalies show --svg on a full disk', show, () => '/dev/full', FULL],
  ['init below a file', init, inFile, FILE_IN_THE_WAY],
  ['init below /proc', init, () => '/proc/homeostat', NOT_IN_PROC],
  ['init where nobody may write', init, () => '/sys/homeostat', FORBIDDEN],
  ['init on a full disk', init, () => (full('homeostat.yaml'), folder), FULL]
]

describe('a place that cannot be written', () => {
  test.each(CASES)('%s', async (_name, command, place, message) => {
    await expect(command(place())).rejects.toMatchObject({ code: 'usage', message: expect.stringMatching(message) as string })
  })

  test('score leaves nothing half written', async () => {
    full('out', 'queue.csv.part')
    await expect(score(join(folder, 'out'))).rejects.toThrow(FULL)
    expect(readdirSync(join(folder, 'out'))).toEqual([])
  })

  test.each(['/proc/homeostat', '/proc/homeostat/a'])('dataDir %s', dataDir => {
    expect(() => holdInstance(dataDir)).toThrow(/^dataDir \/proc\S* cannot be made \(ENOENT: .*\): name a folder that this user may write$/)
  })
})

test('kill and whatever else opens the log itself says where it should be', async () => {
  const options = { dir: '/proc/homeostat/log', logger: undefined, meter: undefined, clock: virtualClock(0) } as unknown as EmbeddedLogOptions
  await expect(EmbeddedLog.open(options)).rejects.toMatchObject({ code: 'log_unavailable', message: expect.stringMatching(/is dataDir right\?$/) as string })
})

describe('a folder', () => {
  test('is made with those above it, also where some are there already, and twice', () => {
    const path = join(folder, 'a/b/c')
    mkdirSync(join(folder, 'a'))
    makeFolder(path)
    makeFolder(path)
    expect(existsSync(path)).toBe(true)
    makeFolder(join(folder, 'a/b/../d/'))
    expect(readdirSync(join(folder, 'a')).sort()).toEqual(['b', 'd'])
  })

  test('is made by nothing else: the recursive mkdir of Node 24 does not end below /proc', () => {
    const root = join(import.meta.dirname, '../../../../pipeline/cli')
    const sources = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter(name => name.endsWith('.ts'))
    expect(sources.filter(name => /mkdir(Sync)?\(/.test(readFileSync(join(root, name), 'utf8')))).toEqual([])
  })
})
