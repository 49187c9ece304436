// Which partition a key lives on: one function for every writer, so that an entity's derived series land beside its own.
//
// Kafka's default (murmur2 with seed 0x9747b28c, sign bit cleared, modulo): a Java producer that writes into our topics
// with the same key agrees with us.

const encoder = new TextEncoder()

/** Partition of `key`, 0 <= result < `partitions`. Depends on nothing else, so it holds over restarts and machines. */
export function keyPartition(key: string, partitions: number): number {
  if (partitions === 1) return 0
  return (murmur2(encoder.encode(key)) & 0x7fff_ffff) % partitions
}

const SEED = 0x9747_b28c
const MULTIPLIER = 0x5bd1_e995
const SHIFT = 24

/** 32-bit MurmurHash2 as a signed integer. Source: Austin Appleby, MurmurHash2 (2008); seed as in Kafka's default partitioner. */
export function murmur2(bytes: Uint8Array): number {
  const length = bytes.length
  let hash = SEED ^ length
  let at = 0
  for (; at + 4 <= length; at += 4) {
    let word = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
    word = Math.imul(word, MULTIPLIER)
    word = Math.imul(word ^ (word >>> SHIFT), MULTIPLIER)
    hash = Math.imul(hash, MULTIPLIER) ^ word
  }
  const left = length - at
  if (left > 2) hash ^= bytes[at + 2]! << 16
  if (left > 1) hash ^= bytes[at + 1]! << 8
  if (left > 0) hash = Math.imul(hash ^ bytes[at]!, MULTIPLIER)
  hash = Math.imul(hash ^ (hash >>> 13), MULTIPLIER)
  return hash ^ (hash >>> 15)
}
