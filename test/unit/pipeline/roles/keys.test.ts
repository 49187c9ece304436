// Whose commands an actuator believes, and what it says when it can believe nobody.

import { generateKeyPairSync } from 'node:crypto'
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { commandSigner } from '../../../../actuators/execute/signer.ts'
import { initKeys, publicKey } from '../../../../pipeline/cli/keys.ts'
import { openSigningKey, openVerificationKeys, signingKeyFile } from '../../../../pipeline/roles/keys.ts'
import { selectRoles } from '../../../../pipeline/roles/select.ts'
import { type Config, type ConfigInput, configSchema } from '../../../../schemas/config.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'homeostat-keys-'))
})
afterEach(() => rmSync(dir, { recursive: true }))

const ACT = selectRoles('act')
const aConfig = (overrides: Partial<ConfigInput> = {}): Config =>
  configSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat', dataDir: join(dir, 'data'), ...overrides })

/** The public half of a new key, in a file. */
function aPublicKey(name: string): { file: string; keyId: string } {
  const privateKeyPem = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  const { publicKeyPem, keyId } = commandSigner(privateKeyPem)
  const file = join(dir, name)
  writeFileSync(file, publicKeyPem)
  return { file, keyId }
}

describe('the keys of an actuator', () => {
  it('are the named public ones, several while a key is replaced, and no private key is made', () => {
    const [old, fresh] = [aPublicKey('old.pem'), aPublicKey('new.pem')]
    const config = aConfig({ act: { verificationKeyFiles: [old.file, fresh.file] } })
    expect(Object.keys(openVerificationKeys(config, ACT)).sort()).toEqual([old.keyId, fresh.keyId].sort())
    expect(existsSync(signingKeyFile(config))).toBe(false)
  })

  it('include that of a control role in the same process', () => {
    const named = aPublicKey('named.pem')
    const config = aConfig({ act: { verificationKeyFiles: [named.file] } })
    const keys = openVerificationKeys(config, selectRoles('control,act'))
    expect(Object.keys(keys)).toEqual([named.keyId, commandSigner(openSigningKey(config).privateKeyPem).keyId])
  })

  it('are the one below the data directory when none is named', () => {
    const config = aConfig()
    const { keyId } = commandSigner(openSigningKey(config).privateKeyPem)
    expect(Object.keys(openVerificationKeys(config, ACT))).toEqual([keyId])
  })

  it('must be given where control runs elsewhere', () => {
    expect(() => openVerificationKeys(aConfig(), ACT)).toThrow(
      expect.objectContaining({ code: 'config_invalid', message: expect.stringMatching(/^act\.verificationKeyFiles: .*homeostat keys public/) })
    )
  })

  it.each([
    ['a private key', () => generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), /holds a private key/],
    ['a key of another kind', () => generateKeyPairSync('x25519').publicKey.export({ type: 'spki', format: 'pem' }).toString(), /no Ed25519 public key/],
    ['no key', () => 'hello', /no Ed25519 public key/]
  ])('are refused with their file when it holds %s', (_, content, sentence) => {
    const file = join(dir, 'wrong.pem')
    writeFileSync(file, content())
    const open = () => openVerificationKeys(aConfig({ act: { verificationKeyFiles: [file] } }), ACT)
    expect(open).toThrow(expect.objectContaining({ code: 'config_invalid', message: expect.stringMatching(sentence) }))
    expect(open).toThrow(file)
  })

  it('are refused with their file when it is missing', () => {
    expect(() => openVerificationKeys(aConfig({ act: { verificationKeyFiles: [join(dir, 'none.pem')] } }), ACT)).toThrow(/none\.pem cannot be read/)
  })
})

describe('homeostat keys', () => {
  it('prints what an actuator believes, and makes a key only when told to', () => {
    const config = aConfig()
    expect(() => publicKey(config)).toThrow(expect.objectContaining({ code: 'not_found' }))
    expect(existsSync(signingKeyFile(config))).toBe(false)

    expect(initKeys(config)).toMatchObject({ created: true })
    expect(statSync(signingKeyFile(config)).mode & 0o777).toBe(0o600)
    expect(initKeys(config)).toMatchObject({ created: false })

    const file = join(dir, 'public.pem')
    writeFileSync(file, publicKey(config).publicKeyPem)
    const keys = openVerificationKeys(aConfig({ dataDir: join(dir, 'other'), act: { verificationKeyFiles: [file] } }), ACT)
    expect(Object.keys(keys)).toEqual([commandSigner(openSigningKey(config).privateKeyPem).keyId])
  })
})
