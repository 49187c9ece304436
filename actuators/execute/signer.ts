// Ed25519 signatures of commands: decide signs what it ordered, act believes nothing else.
//
// The signature covers the canonical bytes of schemas/command-signature.ts, the key id included, so a command cannot be
// moved to another key, environment, target or time. Verification comes before any other field is looked at.

import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto'
import { type Anchor, signAnchor } from '../../schemas/anchor.ts'
import type { AuditHead } from '../../schemas/audit.ts'
import type { Command } from '../../schemas/command.ts'
import { commandBytes } from '../../schemas/command-signature.ts'
import { AppError } from '../../schemas/errors.ts'
import { derivedId } from '../../schemas/ids.ts'

const SIGNATURE_BYTES = 64 // Ed25519, RFC 8032.

export interface CommandSigner {
  /** Names the key in every command: the first 128 bits of the public key's SHA-256, hex. */
  readonly keyId: string
  /** PEM of the public half, for the verifier's configuration. */
  readonly publicKeyPem: string
  /** The command with its key id and signature. */
  sign(command: Omit<Command, 'keyId' | 'signature'>): Command
  /** Vouches for the head of an audit chain. */
  signAnchor(head: AuditHead, atMs: number): Anchor
}

export type Refusal = { by: string; reason: string }

export interface CommandVerifier {
  /** `undefined` when the command was signed by a known key and not a bit of it changed since. */
  verify(command: Command): Refusal | undefined
}

/** @throws AppError `config_invalid` when the PEM holds no Ed25519 private key */
export function commandSigner(privateKeyPem: string): CommandSigner {
  const privateKey = ed25519(() => createPrivateKey(privateKeyPem), 'the command signing key')
  const publicKey = createPublicKey(privateKey)
  const keyId = keyIdOf(publicKey)
  return {
    keyId,
    publicKeyPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    sign(command) {
      const unsigned = { ...command, keyId }
      return { ...unsigned, signature: sign(null, commandBytes(unsigned), privateKey).toString('base64') }
    },
    signAnchor: (head, atMs) => signAnchor(head, atMs, keyId, privateKey)
  }
}

/**
 * A verifier of the keys that may order; a key that is taken out is revoked.
 * @param options.keys key id → public key PEM
 * @throws AppError `config_invalid` when a PEM holds no Ed25519 public key
 */
export function commandVerifier(options: { keys: Readonly<Record<string, string>> }): CommandVerifier {
  const keys = new Map(Object.entries(options.keys).map(([id, pem]) => [id, ed25519(() => createPublicKey(pem), `the public key ${id}`)]))
  return {
    verify(command) {
      const key = keys.get(command.keyId)
      if (!key) return { by: 'key_id', reason: `no key ${command.keyId.slice(0, 64)} may order here` }
      const { signature, ...unsigned } = command
      const bytes = Buffer.from(signature, 'base64')
      // Base64 has spare bits and ignored characters: only the one spelling that we write is accepted.
      if (bytes.length !== SIGNATURE_BYTES || bytes.toString('base64') !== signature) {
        return { by: 'signature', reason: 'the signature is not 64 bytes of base64' }
      }
      let covered: Uint8Array
      try {
        covered = commandBytes(unsigned)
      } catch (error) {
        return { by: 'signature', reason: error instanceof Error ? error.message : String(error) }
      }
      return verify(null, covered, key, bytes) ? undefined : { by: 'signature', reason: `the signature does not fit the command and key ${command.keyId}` }
    }
  }
}

/** The id under which commands name this key. @throws AppError `config_invalid` when the PEM holds no Ed25519 public key */
export function publicKeyId(publicKeyPem: string): string {
  return keyIdOf(ed25519(() => createPublicKey(publicKeyPem), 'a public key of commands'))
}

function keyIdOf(publicKey: KeyObject): string {
  return derivedId('command-key', publicKey.export({ type: 'spki', format: 'der' }).toString('hex'))
}

function ed25519(load: () => KeyObject, what: string): KeyObject {
  let key: KeyObject
  try {
    key = load()
  } catch (cause) {
    throw new AppError('config_invalid', `${what} cannot be read: it must be an Ed25519 key in PEM form`, { cause })
  }
  if (key.asymmetricKeyType !== 'ed25519') throw new AppError('config_invalid', `${what} is of type ${key.asymmetricKeyType}: an Ed25519 key is needed`)
  return key
}
