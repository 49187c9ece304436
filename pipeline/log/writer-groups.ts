// Consumer groups of the embedded log: members, leases of partitions, committed offsets. Part of the log's writer.
//
//   free -- balance --> owned(generation+1) -- renew --> owned -- release | expiry | owner's process gone --> free
//
// A lease row outlives its owners, so generations only grow; a commit is accepted from the row's owner and generation only.
// Members are ordered by when they joined, and partition i belongs to member i mod n, or all to the first when the group is
// exclusive: all members compute the same.

import type { DatabaseSync } from 'node:sqlite'
import { OFFSETS_PER_PARTITION, transaction } from './log-schema.ts'
import type { PartitionIds } from './log-writer.ts'
import { isOwnerDead } from './owner.ts'
import type { Assigned, WriterOperations } from './writer-protocol.ts'

interface LeaseRow {
  owner: string | null
  generation: number
  expires_at_ms: number
  committed: number
}

/** The group operations over one connection. */
export function groupOperations(db: DatabaseSync, partitionIds: PartitionIds): Pick<WriterOperations, 'balance' | 'renew' | 'release' | 'commit'> {
  const sql = prepareGroups(db)
  const idOf = (topic: string, partition: number): number => Number(sql.partitionId.get(topic, partition)?.id ?? -1)

  const balance: WriterOperations['balance'] = request => {
    try {
      return transaction(db, () => balanceNow(request))
    } catch (cause) {
      partitionIds.forget() // Partitions made by the transaction are gone with it.
      throw cause
    }
  }

  function balanceNow({ group, owner, topics, holds, from, exclusive, nowMs, leaseMs }: Parameters<WriterOperations['balance']>[0]) {
    sql.active.run(group, nowMs)
    sql.join.run(group, owner, JSON.stringify(topics.map(t => t.topic)), nowMs + leaseMs)
    const members = liveMembers(group, owner, nowMs)
    const assigned: Assigned[] = []
    const surplus: { topic: string; partition: number }[] = []
    for (const { topic, partitionCount } of topics) {
      const sharing = members.filter(member => member.topics.includes(topic))
      for (const [partition, id] of partitionIds(topic, partitionCount).entries()) {
        const due = sharing[exclusive ? 0 : partition % sharing.length]!.owner === owner
        const lease = sql.lease.get(group, id) as LeaseRow | undefined
        if (!due && lease?.owner === owner) surplus.push({ topic, partition })
        else if (due && (isFree(lease, nowMs) || isForgotten(lease, owner, holds, `${topic}/${partition}`)))
          assigned.push({ topic, partition, ...take(group, id, owner, nowMs + leaseMs, from, lease) })
      }
    }
    return { assigned, surplus }
  }

  /** Members whose lease of life runs, oldest first; the dead are removed with what they held. */
  function liveMembers(group: string, self: string, nowMs: number): { owner: string; topics: string[] }[] {
    const rows = sql.members.all(group) as unknown as { owner: string; topics: string; expires_at_ms: number }[]
    const live = []
    for (const row of rows) {
      const gone = row.owner !== self && (row.expires_at_ms <= nowMs || isOwnerDead(row.owner))
      if (!gone) live.push({ owner: row.owner, topics: JSON.parse(row.topics) as string[] })
      else {
        sql.leave.run(group, row.owner)
        sql.freeAll.run(group, row.owner)
      }
    }
    return live
  }

  function take(group: string, id: number, owner: string, expiresAtMs: number, from: string, lease: LeaseRow | undefined) {
    const generation = Number(lease?.generation ?? 0) + 1
    const committed = lease === undefined ? startOffset(id, from) : Number(lease.committed)
    sql.take.run(group, id, owner, generation, expiresAtMs, committed)
    return { generation, committed }
  }

  function startOffset(id: number, from: string): number {
    const end = Number(sql.nextOffset.get(id)!.next_offset)
    if (from === 'latest') return end
    const first = sql.firstRecord.get(id * OFFSETS_PER_PARTITION, (id + 1) * OFFSETS_PER_PARTITION)!.id
    return first === null ? end : Number(first) - id * OFFSETS_PER_PARTITION
  }

  const renew: WriterOperations['renew'] = ({ group, owner, nowMs, leaseMs }) =>
    transaction(db, () => {
      sql.active.run(group, nowMs)
      sql.renewMember.run(nowMs + leaseMs, group, owner)
      sql.renewLeases.run(nowMs + leaseMs, group, owner)
      return sql.owned.all(group, owner) as unknown as { topic: string; partition: number; generation: number }[]
    })

  const release: WriterOperations['release'] = ({ group, owner, partitions }) =>
    transaction(db, () => {
      if (partitions === undefined) {
        sql.leave.run(group, owner)
        sql.freeAll.run(group, owner)
      } else for (const { topic, partition } of partitions) sql.freeOne.run(group, idOf(topic, partition), owner)
    })

  const commit: WriterOperations['commit'] = ({ group, owner, positions }) =>
    transaction(db, () => {
      const leases = positions.map(({ topic, partition }) => sql.lease.get(group, idOf(topic, partition)) as LeaseRow | undefined)
      if (positions.some((p, index) => leases[index]?.owner !== owner || leases[index]?.generation !== p.generation)) return false
      for (const { topic, partition, offset } of positions) sql.commit.run(offset, group, idOf(topic, partition))
      return true
    })

  return { balance, renew, release, commit }
}

/** Ours by the row, but the member does not know: it would be renewed for ever and read by nobody. */
function isForgotten(lease: LeaseRow | undefined, owner: string, holds: readonly string[], name: string): boolean {
  return lease?.owner === owner && !holds.includes(name)
}

function isFree(lease: LeaseRow | undefined, nowMs: number): boolean {
  return lease?.owner == null || lease.expires_at_ms <= nowMs || isOwnerDead(lease.owner)
}

function prepareGroups(db: DatabaseSync) {
  return {
    partitionId: db.prepare('SELECT id FROM partition WHERE topic = ? AND number = ?'),
    nextOffset: db.prepare('SELECT next_offset FROM partition WHERE id = ?'),
    firstRecord: db.prepare('SELECT min(id) AS id FROM record WHERE id >= ? AND id < ?'),
    active: db.prepare('INSERT INTO consumer_group VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET active_at_ms = excluded.active_at_ms'),
    join: db.prepare(`INSERT INTO member (group_name, owner, topics, expires_at_ms) VALUES (?, ?, ?, ?)
                      ON CONFLICT (group_name, owner) DO UPDATE SET expires_at_ms = excluded.expires_at_ms`),
    members: db.prepare('SELECT owner, topics, expires_at_ms FROM member WHERE group_name = ? ORDER BY sequence'),
    leave: db.prepare('DELETE FROM member WHERE group_name = ? AND owner = ?'),
    renewMember: db.prepare('UPDATE member SET expires_at_ms = ? WHERE group_name = ? AND owner = ?'),
    renewLeases: db.prepare('UPDATE lease SET expires_at_ms = ? WHERE group_name = ? AND owner = ?'),
    owned: db.prepare(`SELECT partition.topic, partition.number AS partition, lease.generation FROM lease JOIN partition ON partition.id = lease.partition_id
                       WHERE lease.group_name = ? AND lease.owner = ?`),
    lease: db.prepare('SELECT owner, generation, expires_at_ms, committed FROM lease WHERE group_name = ? AND partition_id = ?'),
    take: db.prepare(`INSERT INTO lease VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (group_name, partition_id)
                      DO UPDATE SET owner = excluded.owner, generation = excluded.generation, expires_at_ms = excluded.expires_at_ms`),
    freeOne: db.prepare('UPDATE lease SET owner = NULL WHERE group_name = ? AND partition_id = ? AND owner = ?'),
    freeAll: db.prepare('UPDATE lease SET owner = NULL WHERE group_name = ? AND owner = ?'),
    commit: db.prepare('UPDATE lease SET committed = ? WHERE group_name = ? AND partition_id = ?')
  }
}
