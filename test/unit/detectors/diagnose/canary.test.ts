import { describe, expect, it } from 'vitest'
import { anAnomaly, edgeSignal, reducer } from './builders.ts'

const SERVICE = { entity: 'lab/orders@orders-1' }
const canary = (what: 'error_difference' | 'undecided') =>
  anAnomaly({
    entity: 'lab/orders@2.0.0',
    metric: `homeostat.release.${what}`,
    detector: 'canary',
    severity: what === 'undecided' ? 'warning' : 'critical',
    atS: 1
  })

describe('a canary in an incident', () => {
  it('that failed is the cause before everything else of its service, and its version is what to act on', () => {
    const { feed, published } = reducer()
    feed({ kind: 'anomaly', record: anAnomaly({ ...SERVICE, metric: 'homeostat.span.error_ratio', severity: 'critical', atS: 0 }) }, 2)
    feed({ kind: 'anomaly', record: edgeSignal('lab/gateway@gateway-1', 'lab/orders', 'error_ratio', { severity: 'critical', atS: 1 }) }, 3)
    feed({ kind: 'anomaly', record: canary('error_difference') }, 4)
    expect(published.at(-1)!.causes[0]).toMatchObject({ entity: 'lab/orders@2.0.0', signature: 'canary', service: 'orders' })
    expect(published.at(-1)!.title).toMatch(/lab\/orders@2\.0\.0 is a canary worse than its baseline/)
  })

  it('that a person stopped is told as that, and not as worse than its baseline', () => {
    const { feed, published } = reducer()
    const reason = "canary 2.0.0 of lab/orders: stopped by ada: a person's decision, whatever its figures say"
    feed({ kind: 'anomaly', record: { ...canary('error_difference'), attributes: { stopped_by: 'ada' }, reason } }, 4)
    const { title, causes } = published.at(-1)!
    expect(title).toBe('lab/orders@2.0.0 is a canary that ada stopped')
    expect(causes[0]).toMatchObject({ signature: 'canary', evidence: [`canary of its own: ${reason}`] })
  })

  it('stays the cause when what it calls is in trouble: both arms call it', () => {
    const { feed, published } = reducer()
    feed({ kind: 'anomaly', record: anAnomaly({ entity: 'lab/payments@payments-1', metric: 'homeostat.span.error_ratio', severity: 'critical', atS: 0 }) }, 2)
    feed({ kind: 'anomaly', record: canary('error_difference') }, 4)
    expect(published.at(-1)!.causes[0]).toMatchObject({ signature: 'canary' })
  })

  it('that cannot be judged gives way to real trouble of the service', () => {
    const { feed, published } = reducer()
    feed({ kind: 'anomaly', record: canary('undecided') }, 2)
    expect(published.at(-1)!.causes[0]).toMatchObject({ entity: 'lab/orders@2.0.0', signature: 'canary_undecided' })
    feed({ kind: 'anomaly', record: anAnomaly({ ...SERVICE, metric: 'homeostat.span.error_ratio', severity: 'critical', atS: 3 }) }, 4)
    expect(published.at(-1)!.causes[0]).toMatchObject({ entity: 'lab/orders@orders-1', signature: 'errors' })
  })

  it('is no instance of its service', () => {
    const { feed, state } = reducer()
    feed({ kind: 'anomaly', record: canary('error_difference') }, 2)
    expect([...(state.instances.get('lab') ?? [])]).toEqual([])
  })
})
