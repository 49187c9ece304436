// The judgement of who reads what fails on each of its counter-examples.

import { describe, expect, it } from 'vitest'
import { failuresOf, type MemberView, type Owners } from '../../../infra/lab/cluster/ownership.ts'
import { commandsTopic, TOPICS } from '../../../schemas/topics.ts'

const telemetry = [TOPICS.metrics, TOPICS.spans, TOPICS.logs].flatMap(({ name, partitions }) =>
  Array.from({ length: partitions }, (_, partition) => `${name}/${partition}`)
)
const half = telemetry.length / 2
const member = (id: string, ...owns: string[]): MemberView => ({ id, owns })

function owners(changes: Partial<Owners> = {}): Owners {
  return {
    detectors: [member('detect-1', ...telemetry.slice(0, half)), member('detect-2', ...telemetry.slice(half))],
    controls: [{ group: 'homeostat-decide', members: [member('control-1', 'homeostat.incidents.v1/0'), member('control-2')] }],
    actuators: ['lab', 'lab-west'].map(environment => ({ environment, members: [member(`act-${environment}`, `${commandsTopic(environment)}/0`)] })),
    ...changes
  }
}

describe('ownership on a cluster', () => {
  it('is right when detectors share, one control stands by and each actuator reads its own commands', () => {
    expect(failuresOf(owners())).toEqual([])
  })

  it('is wrong when one detector has everything, when a partition has none, or two', () => {
    expect(failuresOf(owners({ detectors: [member('detect-1', ...telemetry), member('detect-2')] })).join()).toContain('1 detectors own partitions')
    expect(failuresOf(owners({ detectors: [member('detect-1', telemetry[0]!), member('detect-2', ...telemetry.slice(2))] })).join()).toContain(
      `no detector owns ${telemetry[1]}`
    )
    expect(failuresOf(owners({ detectors: [member('detect-1', telemetry[0]!), member('detect-2', ...telemetry)] })).join()).toContain('has two detectors')
  })

  it('is wrong when two controls own, or none, or nobody stands by', () => {
    for (const members of [[member('a', 'x/0'), member('b', 'y/0')], [member('a'), member('b')], [member('a', 'x/0')], []])
      expect(failuresOf(owners({ controls: [{ group: 'homeostat-decide', members }] })).join()).toContain('one owner and one that stands by')
  })

  it('is wrong when an actuator reads the commands of another environment', () => {
    const both = member('act-lab', `${commandsTopic('lab')}/0`, `${commandsTopic('lab-west')}/0`)
    for (const members of [[both], [member('act-lab', `${commandsTopic('lab-west')}/0`)], []])
      expect(failuresOf(owners({ actuators: [{ environment: 'lab', members }] })).join()).toContain('and nothing else')
  })
})
