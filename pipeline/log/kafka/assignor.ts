// Who of a consumer group owns which partition: what the group's leader computes when members come or go.
//
//   keep what a member owns -> give away what is free -> move as few as needed until it is balanced
//
// Kept partitions keep their state and are not restored anywhere. Free ones go by the member's name, so a member that comes
// back after a long absence tends to get what it had. Pure: the same input gives the same answer on every member and library.

import type { TopicPartition } from '../../../schemas/ports.ts'

export interface GroupMember {
  /** The broker's name for it in this generation. */
  id: string
  /** Its own name, the same after a restart. */
  instance: string
  topics: readonly string[]
  /** What it says it owns. */
  owned: readonly TopicPartition[]
  /** The generation that it owns it from: of two claims the younger one holds. */
  generation: number
}

/** `shared`: balanced over the members. `exclusive`: one member has everything, the others stand by. */
export type AssignMode = 'shared' | 'exclusive'

interface Place extends TopicPartition {
  name: string
}
interface Seat {
  member: GroupMember
  /** Its subscription, as one word: only equal ones are balanced against each other over all topics. */
  kind: string
  places: Map<string, Place[]>
  total: number
}

/**
 * The partitions of each member, by its id; every member is in the answer. Per topic no member has two more than another that
 * reads it, and neither has it in total against members with the same topics. Partitions of a topic that nobody reads are left out.
 * @param partitionCounts partitions by topic
 */
export function assignPartitions(
  members: readonly GroupMember[],
  partitionCounts: ReadonlyMap<string, number>,
  mode: AssignMode
): Map<string, TopicPartition[]> {
  const seats = [...members].sort(byName).map(seatOf)
  const isShared = mode === 'shared'
  const sitting = isShared ? seats : holderOf(seats)
  const owners = isShared ? claims(sitting, partitionCounts) : new Map<string, Seat>()
  for (const [topic, count] of partitionCounts) {
    const readers = sitting.filter(seat => seat.places.has(topic))
    if (readers.length === 0) continue
    const free: Place[] = []
    for (let partition = 0; partition < count; partition++) {
      const place = { topic, partition, name: nameOf(topic, partition) }
      const owner = owners.get(place.name)
      if (owner === undefined) free.push(place)
      else give(owner, place)
    }
    for (const place of free) give(pick(readers, place), place)
    levelTopic(readers, topic)
  }
  for (const alike of Map.groupBy(sitting, seat => seat.kind).values()) levelTotals(alike)
  return new Map(seats.map(seat => [seat.member.id, [...seat.places.values()].flat().map(({ topic, partition }) => ({ topic, partition }))]))
}

/** The member that holds most of the youngest claims, else the first by name. */
function holderOf(seats: readonly Seat[]): Seat[] {
  let best: Seat | undefined
  for (const seat of seats) {
    const { owned, generation } = seat.member
    if (owned.length > 0 && (best === undefined || generation > best.member.generation)) best = seat
  }
  return best === undefined ? seats.slice(0, 1) : [best]
}

/** Whom a partition stays with, by its name. */
function claims(seats: readonly Seat[], partitionCounts: ReadonlyMap<string, number>): Map<string, Seat> {
  const owners = new Map<string, Seat>()
  for (const seat of seats) {
    for (const { topic, partition } of seat.member.owned) {
      if (!seat.places.has(topic) || partition >= (partitionCounts.get(topic) ?? 0)) continue
      const name = nameOf(topic, partition)
      const other = owners.get(name)
      if (other === undefined || other.member.generation < seat.member.generation) owners.set(name, seat)
    }
  }
  return owners
}

/** Fewest of the topic, fewest in all, then whom the names draw together. */
function pick(readers: readonly Seat[], place: Place): Seat {
  return readers.reduce((best, seat) => ((compareLoad(seat, best, place.topic) || draw(best, place) - draw(seat, place)) < 0 ? seat : best))
}

function levelTopic(readers: readonly Seat[], topic: string): void {
  for (;;) {
    const most = readers.reduce((a, b) => (compareLoad(b, a, topic) > 0 ? b : a))
    const least = readers.reduce((a, b) => (compareLoad(b, a, topic) < 0 ? b : a))
    if (countOf(most, topic) - countOf(least, topic) <= 1) return
    move(most, least, topic)
  }
}

/** Every topic is level already; a move from where there is one more of it keeps it so. */
function levelTotals(alike: readonly Seat[]): void {
  for (;;) {
    const most = alike.reduce((a, b) => (b.total > a.total ? b : a))
    const least = alike.reduce((a, b) => (b.total < a.total ? b : a))
    if (most.total - least.total <= 1) return
    const topics = [...most.places.keys()].filter(topic => countOf(most, topic) > countOf(least, topic))
    // Rather what nobody has state of yet.
    const topic = topics.find(one => most.places.get(one)!.some(place => !isOwned(most, place))) ?? topics[0]!
    move(most, least, topic)
  }
}

function move(from: Seat, to: Seat, topic: string): void {
  const places = from.places.get(topic)!
  const fresh = places.findIndex(place => !isOwned(from, place))
  // Of its own partitions the one goes that the names draw most to the other.
  const index = fresh !== -1 ? fresh : places.reduce((best, place, at) => (draw(to, place) > draw(to, places[best]!) ? at : best), 0)
  const [place] = places.splice(index, 1)
  from.total--
  give(to, place!)
}

function give(seat: Seat, place: Place): void {
  seat.places.get(place.topic)!.push(place)
  seat.total++
}

const compareLoad = (a: Seat, b: Seat, topic: string): number => countOf(a, topic) - countOf(b, topic) || a.total - b.total
const countOf = (seat: Seat, topic: string): number => seat.places.get(topic)!.length
const isOwned = (seat: Seat, { topic, partition }: Place): boolean => seat.member.owned.some(one => one.topic === topic && one.partition === partition)
const nameOf = (topic: string, partition: number): string => `${topic}/${partition}`
const byName = (a: GroupMember, b: GroupMember): number => (a.instance === b.instance ? (a.id < b.id ? -1 : 1) : a.instance < b.instance ? -1 : 1)

function seatOf(member: GroupMember): Seat {
  const topics = [...new Set(member.topics)].sort()
  return { member, kind: topics.join(' '), places: new Map(topics.map(topic => [topic, []])), total: 0 }
}

/** Highest random weight: each pair of member and partition has its number, whoever else is there. FNV-1a, 32 bits. */
function draw({ member }: Seat, { name }: Place): number {
  let hash = 0x811c_9dc5
  for (const text of [member.instance, ' ', name]) {
    for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x0100_0193)
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b) // FNV's last bits follow the last character: mixed once more (MurmurHash3's finish).
  return (hash ^ (hash >>> 13)) >>> 0
}
