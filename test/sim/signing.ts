// Keys of the worlds: the same in each run, for a signature is part of what is hashed. Never used for anything else.

import { createPrivateKey } from 'node:crypto'
import { commandSigner, commandVerifier } from '../../actuators/execute/signer.ts'

const PKCS8_ED25519 = '302e020100300506032b657004220420' // RFC 8410: the header before the 32 bytes of the seed.

function signerOf(byte: number) {
  const der = Buffer.concat([Buffer.from(PKCS8_ED25519, 'hex'), Buffer.alloc(32, byte)])
  return commandSigner(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }).export({ type: 'pkcs8', format: 'pem' }).toString())
}

export const signer = signerOf(1)
/** A key that nobody trusts. */
export const strangerSigner = signerOf(2)
export const verifier = commandVerifier({ keys: { [signer.keyId]: signer.publicKeyPem } })
