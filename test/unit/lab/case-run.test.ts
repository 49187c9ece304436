// The runner of acceptance cases: which are run, that one that throws does not end the rest, and what is told at the end.

import { expect, it } from 'vitest'
import type { AcceptanceReport } from '../../../infra/lab/cases/assertions.ts'
import type { AcceptanceCase, CaseRun } from '../../../infra/lab/cases/case.ts'
import { CASES } from '../../../infra/lab/cases/catalogue.ts'
import { caseList, findCases, runCases, runLines } from '../../../infra/lab/cases/run.ts'

const aReport = (name: string, ok: boolean): AcceptanceReport => ({
  case: name,
  seed: 5,
  pass: ok,
  assertions: [{ name: 'effects', ok, detail: '2 effects, 1 expected' }],
  figures: { detectedMs: 1200 },
  notes: ['M9 not compared: nobody answers']
})
const aCase = (name: string, run: AcceptanceCase['run']): AcceptanceCase => ({ name, title: `${name} happens`, run })
const aRun = (signal = new AbortController().signal): CaseRun => ({ seed: 5, keep: false, say: () => undefined, signal })

it('all is every case once: what is played within another is not run again', () => {
  const { cases, unknown } = findCases(['all'])
  const names = cases.map(({ name }) => name)
  expect(unknown).toEqual([])
  expect(names).toEqual(expect.arrayContaining(['UC1', 'S1', 'UC5', 'UC6', 'F1', 'LIMITS', 'PEOPLE']))
  for (const { name, partOf } of CASES) expect(names.includes(name) || names.includes(partOf!), name).toBe(true)
  for (const { partOf } of cases) expect(partOf).toBeUndefined()
})

it('named cases come in the order of the catalogue, in any case of letters, and unknown ones are told', () => {
  expect(findCases(['uc6', 'UC1', 'kill', 'UC99'])).toMatchObject({ cases: [{ name: 'UC1' }, { name: 'UC6' }, { name: 'KILL' }], unknown: ['UC99'] })
})

it('the list has one line a case, with its name and what it is about', () => {
  const lines = caseList()
  expect(lines).toHaveLength(CASES.length)
  for (const [index, { name, title }] of CASES.entries()) {
    expect(lines[index]).toContain(name)
    expect(lines[index]).toContain(title)
  }
})

it('a case that throws has failed, and the next is run all the same', async () => {
  const run = await runCases(
    [aCase('ONE', () => Promise.reject(new Error('no port'))), aCase('TWO', async () => [aReport('TWO', true), aReport('TWO/twin', false)])],
    aRun()
  )
  expect(run).toMatchObject({
    pass: false,
    runs: [
      { name: 'ONE', pass: false, reports: 1, failed: ['ONE: run'] },
      { name: 'TWO', pass: false, reports: 2, failed: ['TWO/twin: effects'] }
    ]
  })
  expect(run.cases.map(report => report.case)).toEqual(['ONE', 'TWO', 'TWO/twin'])
  const text = runLines(run).join('\n')
  for (const part of ['no port', 'detectedMs 1200', '2 effects, 1 expected', 'M9 not compared: nobody answers', 'TWO   FAIL']) expect(text).toContain(part)
})

it('passes when every report does, and nothing that was interrupted passes', async () => {
  const good = aCase('ONE', async () => [aReport('ONE', true)])
  expect(await runCases([good], aRun())).toMatchObject({ pass: true, seed: 5, runs: [{ name: 'ONE', pass: true }] })
  expect((await runCases([aCase('NONE', async () => [])], aRun())).pass).toBe(false)
  const aborted = await runCases([good], aRun(AbortSignal.abort()))
  expect(aborted).toMatchObject({ pass: false, runs: [], cases: [] })
  expect(runLines(aborted)).toEqual([])
})
