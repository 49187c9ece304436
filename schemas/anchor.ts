// Anchor: control vouches for the head of an audit chain by its signature, so that a chain's end cannot be cut off or written anew unseen.
//
// Written for each chain at most once a minute, and only when it moved. Control signs for the actuators too, since they hold no
// private key: it vouches for what it read of their outcomes.

import { createPublicKey, type KeyObject, sign, verify } from 'node:crypto'
import { z } from 'zod'
import type { AuditHead } from './audit.ts'
import type { RecordType } from './envelope.ts'
import { derivedId } from './ids.ts'

export const anchorSchema = z.object({
  /** The audit chain, its last record's place in it, and that record's hash. */
  chain: z.string(),
  seq: z.number(),
  hash: z.string(),
  atMs: z.number(),
  /** The key that signs commands, by its id. */
  keyId: z.string(),
  /** Ed25519 over the canonical bytes of everything above, base64. */
  signature: z.string()
})
export type Anchor = z.infer<typeof anchorSchema>

export const anchorRecord: RecordType<Anchor> = {
  type: 'homeostat.anchor.v1',
  schema: anchorSchema,
  id: anchor => derivedId('anchor', anchor.chain, anchor.seq, anchor.hash),
  key: anchor => anchor.chain,
  atMs: anchor => anchor.atMs
}

/** @param key the Ed25519 private key that `keyId` names */
export function signAnchor(head: AuditHead, atMs: number, keyId: string, key: KeyObject): Anchor {
  const unsigned = { chain: head.chain, seq: head.seq, hash: head.hash, atMs: Math.floor(atMs), keyId } // Whole: every store reads it back exactly.
  return { ...unsigned, signature: sign(null, anchorBytes(unsigned), key).toString('base64') }
}

/** What became of checking an anchor: good, by a key that is not among `keys`, or not what that key signed. */
export type AnchorTrust = 'good' | 'unknown_key' | 'forged'

/** @param keys key id → public key, PEM */
export function anchorVerifier(keys: Readonly<Record<string, string>>): (anchor: Anchor) => AnchorTrust {
  const known = new Map(Object.entries(keys).map(([id, pem]) => [id, createPublicKey(pem)]))
  return anchor => {
    const key = known.get(anchor.keyId)
    if (key === undefined) return 'unknown_key'
    return verify(null, anchorBytes(anchor), key, Buffer.from(anchor.signature, 'base64')) ? 'good' : 'forged'
  }
}

function anchorBytes({ chain, seq, hash, atMs, keyId }: Omit<Anchor, 'signature'>): Uint8Array {
  const parts = [chain, String(seq), hash, String(atMs), keyId]
  return Buffer.from(`homeostat.anchor.v1\n${parts.map(part => `${Buffer.byteLength(part)}:${part}`).join('')}`)
}
