// The walls of the house: who may import whom, and what the domain folders may not touch.

import { globSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, relative } from 'node:path'
import { describe, expect, it } from 'vitest'

const ROOT = join(import.meta.dirname, '..')
const FOLDERS = ['schemas', 'pipeline', 'detectors', 'models', 'actuators', 'infra', 'test'] as const
const LINES_MAX = 300

/** Folder → folders of ours that it may import. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  schemas: ['schemas'],
  detectors: ['schemas', 'detectors'],
  models: ['schemas', 'models'],
  actuators: ['schemas', 'actuators'],
  pipeline: ['schemas', 'pipeline'],
  infra: [...FOLDERS],
  test: [...FOLDERS]
}

/** The composition root and the roles that it names: the only files of the pipeline that know the domain folders. */
const COMPOSITION = /^pipeline\/(app|roles\/[^/]+)\.ts$/

/** Domain code is pure: these reach it only through ports. Drivers are the hands, so they may. */
const PURE = /^(schemas|detectors|models|actuators)\//
const IMPURE_ALLOWED = /^actuators\/drivers\//
const FORBIDDEN: readonly [what: string, pattern: RegExp][] = [
  ['a clock', /\bDate\.now\s*\(|\bnew Date\s*\(\s*\)|\bperformance\.now\s*\(|\bprocess\.hrtime/],
  ['chance', /\bMath\.random\s*\(|\brandomUUID\b|\brandomBytes\b|\brandomInt\b|\bgetRandomValues\b/],
  ['a timer', /\bset(Timeout|Interval|Immediate)\s*\(/],
  ['the environment', /\bprocess\.(env|argv|exit|on|cwd|pid)\b/],
  [
    'a file, socket or child process',
    /from '(node:)?(fs|fs\/promises|net|http|https|http2|tls|dgram|dns|child_process|worker_threads|os|cluster)'|\brequire\(|\bimport\('node:(?!util)/
  ],
  ['the network', /\bfetch\s*\(|\bWebSocket\b/],
  ['the console', /\bconsole\.\w+\s*\(/]
]

interface SourceFile {
  path: string
  lines: string[]
  /** Comments taken out, so that prose about clocks is allowed. */
  code: string
  imports: string[]
}

const files: SourceFile[] = FOLDERS.flatMap(folder => globSync(`${folder}/**/*.{ts,mjs,js}`, { cwd: ROOT })).map(path => {
  const text = readFileSync(join(ROOT, path), 'utf8')
  const code = text.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/(^|\s)\/\/.*$/gm, '')
  const imports = [...code.matchAll(/(?:from|import)\s*\(?\s*'(\.{1,2}\/[^']+)'/g)].map(match =>
    relative(ROOT, normalize(join(ROOT, dirname(path), match[1]!)))
  )
  return { path, lines: text.split('\n'), code, imports }
})

describe('architecture', () => {
  it('finds the sources it is to judge', () => {
    for (const folder of FOLDERS)
      expect(
        files.some(file => file.path.startsWith(`${folder}/`)),
        folder
      ).toBe(true)
  })

  it('lets each folder import only what the house allows', () => {
    const violations = files.flatMap(file => {
      const folder = file.path.split('/')[0]!
      return file.imports
        .filter(target => !MAY_IMPORT[folder]!.includes(target.split('/')[0]!) && !COMPOSITION.test(file.path))
        .map(target => `${file.path} imports ${target}`)
    })
    expect(violations).toEqual([])
  })

  it('keeps clocks, chance, timers, environment, files, sockets and processes out of the domain folders', () => {
    const violations = files
      .filter(file => PURE.test(file.path) && !IMPURE_ALLOWED.test(file.path))
      .flatMap(file => FORBIDDEN.filter(([, pattern]) => pattern.test(file.code)).map(([what]) => `${file.path} reaches for ${what}`))
    expect(violations).toEqual([])
  })

  it('imports types as types and files by their extension', () => {
    const violations = files.flatMap(file =>
      file.imports.filter(target => !/\.(ts|mjs|js|json)$/.test(target)).map(target => `${file.path} imports ${target} without its extension`)
    )
    expect(violations).toEqual([])
  })

  it(`keeps every file within ${LINES_MAX} lines, or says why not in its first lines`, () => {
    const violations = files
      .filter(file => file.lines.length - 1 > LINES_MAX && !file.lines.slice(0, 12).some(line => /longer than 300 lines because/i.test(line)))
      .map(file => `${file.path} has ${file.lines.length - 1} lines`)
    expect(violations).toEqual([])
  })

  it('opens every source with a header comment', () => {
    const violations = files.filter(file => /(?<!\.test)\.ts$/.test(file.path) && !/^(#!.*\n)?(\/\/|\/\*)/.test(file.lines.join('\n'))).map(file => file.path)
    expect(violations).toEqual([])
  })
})
