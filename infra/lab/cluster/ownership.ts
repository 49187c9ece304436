// Who reads what, asked from the broker itself and not from Homeostat.
//
//   detectors share the telemetry: each owns partitions, every partition has an owner
//   control: one owns, the other stands by;   an actuator reads the commands of its own environment and nothing else

import { AssignerProtocol, type Admin } from 'kafkajs'
import { DETECT_GROUP } from '../../../detectors/worker.ts'
import { commandsTopic, TOPICS } from '../../../schemas/topics.ts'
import { rawKafka } from '../../../test/support/raw-kafka.ts'

const DETECTORS = 2
const CONTROLS = 2
const CONTROL_GROUPS = ['homeostat-diagnose', 'homeostat-decide', 'homeostat-canary']

export interface MemberView {
  /** As the broker knows it. */
  id: string
  /** `topic/partition` of all that it owns. */
  owns: string[]
}

/** Members of a group with what they own. @returns none while the group does not exist */
export async function membersOf(admin: Admin, group: string): Promise<MemberView[]> {
  const { groups } = await admin.describeGroups([group])
  return (groups[0]?.members ?? []).map(({ memberId, memberAssignment }) => {
    const assignment = memberAssignment.length === 0 ? undefined : AssignerProtocol.MemberAssignment.decode(memberAssignment)
    const owns = Object.entries(assignment?.assignment ?? {}).flatMap(([topic, partitions]) => partitions.map(partition => `${topic}/${partition}`))
    return { id: memberId, owns: owns.sort() }
  })
}

/** Runs `work` with an admin of the broker. */
export async function withAdmin<Result>(brokers: readonly string[], work: (admin: Admin) => Promise<Result>): Promise<Result> {
  const admin = rawKafka(brokers, { clientId: 'homeostat-lab' }).admin()
  await admin.connect()
  try {
    return await work(admin)
  } finally {
    await admin.disconnect()
  }
}

/** What is not as it should be, in sentences. */
export function ownershipFailures(brokers: readonly string[], environments: readonly string[]): Promise<string[]> {
  return withAdmin(brokers, async admin => {
    const detectors = await membersOf(admin, DETECT_GROUP)
    const controls = await Promise.all(CONTROL_GROUPS.map(async group => ({ group, members: await membersOf(admin, group) })))
    const actuators = await Promise.all(
      environments.map(async environment => ({ environment, members: await membersOf(admin, `homeostat-act-${environment}`) }))
    )
    return failuresOf({ detectors, controls, actuators })
  })
}

/** Members of each group. */
export interface Owners {
  detectors: readonly MemberView[]
  controls: readonly { group: string; members: readonly MemberView[] }[]
  actuators: readonly { environment: string; members: readonly MemberView[] }[]
}

/** The judgement alone. */
export function failuresOf({ detectors, controls, actuators }: Owners): string[] {
  return [
    ...detectorFailures(detectors),
    ...controls.flatMap(({ group, members }) => controlFailures(group, members)),
    ...actuators.flatMap(({ environment, members }) => actuatorFailures(environment, members))
  ]
}

function detectorFailures(members: readonly MemberView[]): string[] {
  const owned = members.flatMap(({ owns }) => owns)
  const wanted = [TOPICS.metrics, TOPICS.spans, TOPICS.logs].flatMap(({ name, partitions }) =>
    Array.from({ length: partitions }, (_, partition) => `${name}/${partition}`)
  )
  const sharing = members.filter(({ owns }) => owns.length > 0).length
  const failures = sharing === DETECTORS ? [] : [`${sharing} detectors own partitions, ${DETECTORS} should: ${shown(members)}`]
  const orphans = wanted.filter(place => !owned.includes(place))
  if (orphans.length > 0) failures.push(`no detector owns ${orphans.join(', ')}`)
  if (owned.length !== new Set(owned).size) failures.push(`a partition has two detectors: ${shown(members)}`)
  return failures
}

function controlFailures(group: string, members: readonly MemberView[]): string[] {
  const owners = members.filter(({ owns }) => owns.length > 0)
  if (members.length === CONTROLS && owners.length === 1) return []
  return [`${group} should have one owner and one that stands by: ${shown(members)}`]
}

function actuatorFailures(environment: string, members: readonly MemberView[]): string[] {
  const own = `${commandsTopic(environment)}/0`
  const [member, ...others] = members
  if (member !== undefined && others.length === 0 && member.owns.join() === own) return []
  return [`the actuator of ${environment} should read ${own} and nothing else: ${shown(members)}`]
}

function shown(members: readonly MemberView[]): string {
  return members.length === 0 ? 'there is no member' : members.map(({ id, owns }) => `${id} owns ${owns.join(' ') || 'nothing'}`).join('; ')
}
