// How long nobody did the work of a process that was hit: from the hit to the first record that its successor, or itself again, has settled.
//
// Measured at the broker: committed offsets of what the victim's groups read, and who owns it. Partitions without new records cannot tell;
// where all are like that, a living owner does. The doors (intake, console) are measured by an answer.

import type { Admin } from 'kafkajs'
import { membersOf } from '../../infra/lab/cluster/ownership.ts'
import { pause } from '../../infra/lab/fleet.ts'

export const TAKEOVER_MAX_MS = 15_000
/** Beyond this nothing more is waited for: the run says what it saw. */
const WATCH_MAX_MS = 60_000
const LOOK_MS = 200

/** What one group had when the victim was hit. */
export interface Holding {
  group: string
  /** `topic/partition` that the victim owned → committed offset, -1 for none. */
  committed: Map<string, number>
}

/** Groups in which `owner` (the instance's name) owns something, with its positions. */
export async function holdingsOf(admin: Admin, groups: readonly string[], owner: string): Promise<Holding[]> {
  const holdings: Holding[] = []
  for (const group of groups) {
    const owned = (await membersOf(admin, group)).filter(({ id }) => isOf(id, owner)).flatMap(({ owns }) => owns)
    if (owned.length === 0) continue
    const committed = await committedOf(admin, group, owned)
    holdings.push({ group, committed: new Map(owned.map(place => [place, committed.get(place) ?? -1])) })
  }
  return holdings
}

/**
 * Waits until every holding is worked on again.
 * @param alive whether the victim itself counts as an owner: it is back
 * @returns ms from `fromMs`, or null when that did not happen within WATCH_MAX_MS
 */
export async function takenOverMs(
  admin: Admin,
  holdings: readonly Holding[],
  fromMs: number,
  owner: string,
  alive: () => Promise<boolean>
): Promise<number | null> {
  const open = new Set(holdings)
  while (Date.now() - fromMs < WATCH_MAX_MS) {
    for (const holding of open) if (await isWorkedOn(admin, holding, owner, alive).catch(() => false)) open.delete(holding)
    if (open.size === 0) return Date.now() - fromMs
    await pause(LOOK_MS)
  }
  return null
}

/** Waits until `holds` answers true. @returns ms from `fromMs`, or null */
export async function untilMs(holds: () => Promise<boolean>, fromMs: number): Promise<number | null> {
  while (Date.now() - fromMs < WATCH_MAX_MS) {
    if (await holds().catch(() => false)) return Date.now() - fromMs
    await pause(LOOK_MS)
  }
  return null
}

/** Every partition with new records moved on; without any such, all have a living owner. */
async function isWorkedOn(admin: Admin, { group, committed }: Holding, owner: string, alive: () => Promise<boolean>): Promise<boolean> {
  const places = [...committed.keys()]
  const now = await committedOf(admin, group, places)
  const ends = await endsOf(admin, places)
  const due = places.filter(place => ends.get(place)! > Math.max(0, committed.get(place)!))
  const moved = due.filter(place => (now.get(place) ?? -1) > committed.get(place)!)
  if (due.length > 0) return moved.length === due.length
  const members = await membersOf(admin, group)
  const isOwnerAlive = await alive()
  const owned = new Set(members.filter(({ id }) => isOwnerAlive || !isOf(id, owner)).flatMap(({ owns }) => owns))
  return places.every(place => owned.has(place))
}

async function committedOf(admin: Admin, group: string, places: readonly string[]): Promise<Map<string, number>> {
  const topics = [...new Set(places.map(place => topicOf(place)))]
  const answer = await admin.fetchOffsets({ groupId: group, topics })
  return new Map(answer.flatMap(({ topic, partitions }) => partitions.map(({ partition, offset }) => [`${topic}/${partition}`, Number(offset)] as const)))
}

async function endsOf(admin: Admin, places: readonly string[]): Promise<Map<string, number>> {
  const topics = [...new Set(places.map(place => topicOf(place)))]
  const ends = await Promise.all(
    topics.map(async topic => (await admin.fetchTopicOffsets(topic)).map(({ partition, high }) => [`${topic}/${partition}`, Number(high)] as const))
  )
  return new Map(ends.flat())
}

function topicOf(place: string): string {
  return place.slice(0, place.lastIndexOf('/'))
}

/** The broker names a static member after its instance. */
function isOf(memberId: string, owner: string): boolean {
  return memberId.includes(owner)
}
