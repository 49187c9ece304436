import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { commandSigner, commandVerifier } from '../../../../actuators/execute/signer.ts'
import { commandBytes } from '../../../../schemas/command-signature.ts'
import type { Command } from '../../../../schemas/command.ts'
import { aCommand, signer, verifier } from './world.ts'

const pem = (type: 'ed25519' | 'x25519') =>
  generateKeyPairSync(type as 'ed25519')
    .privateKey.export({ type: 'pkcs8', format: 'pem' })
    .toString()

describe('command signatures', () => {
  it('a signed command verifies, also after JSON', () => {
    const command = aCommand()
    expect(verifier.verify(command)).toBeUndefined()
    expect(verifier.verify(JSON.parse(JSON.stringify(command)) as Command)).toBeUndefined()
  })

  it('every single-bit flip of the signature is refused', () => {
    const command = aCommand()
    const bytes = Buffer.from(command.signature, 'base64')
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const flipped = Buffer.from(bytes)
      flipped[bit >> 3]! ^= 1 << (bit & 7)
      expect(verifier.verify({ ...command, signature: flipped.toString('base64') }), `bit ${bit}`).toMatchObject({ by: 'signature' })
    }
  })

  it('every single-bit flip of the command that is still a command is refused', () => {
    const command = aCommand()
    const original = Buffer.from(commandBytes(command))
    const wire = Buffer.from(JSON.stringify(command))
    let read = 0
    let same = 0
    for (let bit = 0; bit < wire.length * 8; bit++) {
      const flipped = Buffer.from(wire)
      flipped[bit >> 3]! ^= 1 << (bit & 7)
      let changed: Command
      try {
        changed = JSON.parse(flipped.toString('utf8')) as Command
      } catch {
        continue
      }
      read++
      // A flip that leaves every value as it was (the case of an exponent, say) changes nothing that is signed.
      if (changed.signature === command.signature && sameBytes(changed, original)) same++
      else expect(refused(changed), `bit ${bit}: ${flipped.toString('latin1').slice(bit / 8 - 20, bit / 8 + 20)}`).toBe(true)
    }
    expect(read).toBeGreaterThan(5_000)
    expect(same).toBeLessThan(read / 100)
  })

  it('another spelling of the same signature is refused', () => {
    const command = aCommand()
    for (const signature of [
      `${command.signature}\n`,
      command.signature.replace(/=+$/, ''),
      ` ${command.signature}`,
      Buffer.from(command.signature, 'base64').toString('hex')
    ]) {
      expect(verifier.verify({ ...command, signature })).toMatchObject({ by: 'signature' })
    }
  })

  it('a swap of two fields is refused', () => {
    const command = aCommand()
    expect(verifier.verify({ ...command, policy: command.runbook, runbook: command.policy })).toMatchObject({ by: 'signature' })
    expect(verifier.verify({ ...command, issuedAtMs: command.expiresAtMs, expiresAtMs: command.issuedAtMs })).toMatchObject({ by: 'signature' })
  })

  it('a revoked key and a foreign key under a known id are refused', () => {
    const command = aCommand()
    expect(commandVerifier({ keys: {} }).verify(command)).toMatchObject({ by: 'key_id' })
    const foreign = commandSigner(pem('ed25519'))
    expect(commandVerifier({ keys: { [signer.keyId]: foreign.publicKeyPem } }).verify(command)).toMatchObject({ by: 'signature' })
    expect(verifier.verify({ ...command, keyId: '__proto__' })).toMatchObject({ by: 'key_id' })
  })

  it('takes no key but Ed25519', () => {
    expect(() => commandSigner('nonsense')).toThrow(/Ed25519/)
    expect(() => commandSigner(pem('x25519'))).toThrow(/Ed25519/)
  })
})

function refused(command: Command): boolean {
  return typeof command.signature !== 'string' || typeof command.keyId !== 'string' || verifier.verify(command) !== undefined
}
function sameBytes(command: Command, original: Buffer): boolean {
  try {
    return Buffer.from(commandBytes(command)).equals(original)
  } catch {
    return false
  }
}
