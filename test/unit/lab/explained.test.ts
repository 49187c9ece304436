// What the acceptance cases ask of `homeostat explain`: each demand fails on its own counter-example.

import { describe, expect, it } from 'vitest'
import { type Answer, answersFirst, explains } from '../../../infra/lab/cases/people.ts'

const ANSWER: Answer = {
  did: 'It gave up and called people.',
  why: 'Why: replace-pod was tried 3 times',
  change: 'What would change that: attempts.max above 3'
}
const TEXT = `lab/checkout fails (escalated)
critical; began 19:32:33Z

It gave up and called people.
Why: replace-pod was tried
3 times on lab/checkout@checkout-1: the budget is used up.
What would change that: attempts.max above 3, or a person's look.

Cause: lab/checkout@checkout-1, crash_loop, score 0.9
`

describe('the first lines of an explanation', () => {
  it('say what it did, why, what would change that, however the lines are broken', () => {
    expect(answersFirst(TEXT, ANSWER)).toMatchObject({ ok: true })
  })
  it.each(['did', 'why', 'change'] as const)('fail without the answer to: %s', part => {
    const without = TEXT.replaceAll(/\s+/g, ' ').replace(ANSWER[part], '…')
    const result = answersFirst(without, ANSWER)
    expect(result.ok).toBe(false)
    expect(result.detail).toContain(`${part}: ${ANSWER[part]}`)
  })
  it('fail when the answer comes after the cause, or begins with something else', () => {
    const [head, tail] = TEXT.split('\nCause:')
    expect(answersFirst(`\nCause:${tail}${head}`, ANSWER).ok).toBe(false)
    expect(answersFirst(`${ANSWER.why} ${ANSWER.did} ${ANSWER.change}`, ANSWER).ok).toBe(false)
    expect(answersFirst('', ANSWER).detail).toContain('it says: nothing')
  })
})

it('phrases of a guard are looked for in all of it', () => {
  expect(explains({ explanation: TEXT }, 'the budget is used up', 'crash_loop, score 0.9')).toMatchObject({ ok: true })
  expect(explains({ explanation: TEXT }, 'homeostat release')).toMatchObject({ ok: false, detail: 'it lacks homeostat release' })
})
