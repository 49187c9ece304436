import { describe, expect, it } from 'vitest'
import { commandLedger, undoKey } from '../../../../actuators/execute/ledger.ts'
import { refusalOf } from '../../../../actuators/execute/outcome.ts'
import type { StepFinding, StepState } from '../../../../actuators/execute/rows.ts'
import { memoryLedger } from '../../../support/memory-ledger.ts'
import { aCommand, START_MS, TARGET } from './world.ts'

const pass = { before: () => undefined, after: () => undefined }
const found = { reason: '', refusedBy: null, healedAtMs: null, result: { name: 'restart' } } as unknown as StepFinding

function accepted() {
  const store = memoryLedger()
  const ledger = commandLedger(store)
  const command = aCommand()
  ledger.admit(command, START_MS, pass, (by, reason) => refusalOf(command, 'o', START_MS, by, reason))
  return { store, ledger, command, key: command.steps[0]!.idempotencyKey }
}
type Ledger = ReturnType<typeof accepted>

/** Every arrow that can be asked for. */
const MOVES: Record<string, (world: Ledger) => unknown> = {
  begun: ({ ledger, key }) => ledger.begin(key, START_MS),
  applied: ({ ledger, key }) => ledger.settle(key, 'applied', START_MS, ''),
  failed: ({ ledger, key }) => ledger.settle(key, 'failed', START_MS, ''),
  unknown: ({ ledger, key }) => ledger.settle(key, 'unknown', START_MS, ''),
  verified: ({ ledger, key }) => ledger.verified(key, 'verified', found),
  unverified: ({ ledger, key }) => ledger.verified(key, 'unverified', found),
  recorded: ({ ledger, command }) => ledger.record(command.id, refusalOf(command, 'o', START_MS, 'x', 'x'), () => undefined)
}
const LEGAL: Record<StepState, string[]> = {
  accepted: ['begun', 'recorded'],
  begun: ['begun', 'applied', 'failed', 'unknown'],
  applied: ['verified', 'unverified'],
  failed: ['unverified'],
  unknown: ['unverified'],
  verified: ['recorded'],
  unverified: ['recorded'],
  recorded: []
}
const WAY: Record<StepState, string[]> = {
  accepted: [],
  begun: ['begun'],
  applied: ['begun', 'applied'],
  failed: ['begun', 'failed'],
  unknown: ['begun', 'unknown'],
  verified: ['begun', 'applied', 'verified'],
  unverified: ['begun', 'applied', 'unverified'],
  recorded: ['begun', 'applied', 'verified', 'recorded']
}

describe('command ledger', () => {
  it.each(Object.keys(LEGAL) as StepState[])('allows from %s only the arrows of the protocol', state => {
    for (const [to, move] of Object.entries(MOVES)) {
      const world = accepted()
      for (const step of WAY[state]) MOVES[step]!(world)
      expect(world.ledger.step(world.key)!.state).toBe(state)
      const before = JSON.stringify(world.store.rows('step'))
      // A frozen target is an answer of its own; it moves nothing either.
      if (LEGAL[state].includes(to)) expect(() => move(world), `${state} → ${to}`).not.toThrow()
      else if (!(state === 'unknown' && to === 'begun')) expect(() => move(world), `${state} → ${to}`).toThrow(/no arrow|never changes/)
      if (!LEGAL[state].includes(to)) expect(JSON.stringify(world.store.rows('step'))).toBe(before)
    }
  })

  it('counts attempts and keeps the time of the first begin', () => {
    const { ledger, key } = accepted()
    ledger.begin(key, START_MS + 1)
    expect(ledger.begin(key, START_MS + 2)).toMatchObject({ attempt: 2, begunAtMs: START_MS + 1 })
  })

  it('writes the outcome in the transaction that records the command', () => {
    const world = accepted()
    for (const step of WAY.recorded.slice(0, -1)) MOVES[step]!(world)
    world.store.onTransaction = (_number, when) => {
      if (when === 'before') throw new Error('crash')
    }
    expect(() => MOVES.recorded!(world)).toThrow('crash')
    expect(world.store.rows('outbox')).toEqual([])
    expect(world.store.rows('command')[0]).toMatchObject({ state: 'accepted', open: true })
    world.store.onTransaction = () => {}
    MOVES.recorded!(world)
    expect(world.store.rows('outbox')).toMatchObject([{ kind: 'outcome', open: true }])
    expect(world.store.rows('command')[0]).toMatchObject({ state: 'recorded', open: false })
  })

  it('freezes the target with the unknown effect and ignores releases that are older', () => {
    const world = accepted()
    MOVES.begun!(world)
    world.ledger.settle(world.key, 'unknown', START_MS + 10, 'lost')
    expect(world.ledger.frozenCount()).toBe(1)
    expect(world.store.rows('fence')).toMatchObject([{ key: TARGET, frozen: { reason: 'lost' } }])
    expect(world.ledger.release(TARGET, START_MS)).toBe(false)
    expect(world.ledger.release(TARGET, START_MS + 10)).toBe(true)
    expect(world.ledger.frozenCount()).toBe(0)
    expect(world.store.rows('fence')).toMatchObject([{ key: TARGET, frozen: null }])
  })

  it('opens an undo once, under a key of its own', () => {
    const { ledger, key, store } = accepted()
    const act = { driver: 'fake', target: TARGET, verb: 'revert', args: {} }
    const first = ledger.openUndo(ledger.step(key)!, act)
    ledger.begin(first.key, START_MS)
    expect(ledger.openUndo(ledger.step(key)!, act)).toMatchObject({ key: undoKey(key), state: 'begun' })
    expect(store.rows('step')).toHaveLength(2)
  })
})
