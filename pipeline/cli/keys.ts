// `homeostat keys`: the key that signs commands. Its public half goes to every actuator that runs away from control.

import { existsSync } from 'node:fs'
import type { Command } from 'commander'
import type { Config } from '../../schemas/config.ts'
import { AppError } from '../../schemas/errors.ts'
import { openSigningKey, signingKeyFile } from '../roles/keys.ts'
import type { Output } from './output.ts'

/** Adds `keys init` and `keys public` to `program`. */
export function registerKeys(program: Command, ports: { config(): Config; output(): Output }): void {
  const keys = program.command('keys').description('the key that signs commands; actuators in other processes need its public half (act.verificationKeyFiles)')
  keys
    .command('init')
    .description('make the key pair, unless it is there')
    .action(() => {
      const report = initKeys(ports.config())
      ports.output().result(report, `${report.created ? 'made' : 'there already'}: ${report.file}\n\nIts public half: \`homeostat keys public\``)
    })
  keys
    .command('public')
    .description('print the public key (PEM)')
    .action(() => {
      const report = publicKey(ports.config())
      ports.output().result(report, report.publicKeyPem.trimEnd())
    })
}

interface KeyReport {
  /** Of the private key. */
  file: string
  /** True when it was made just now. */
  created: boolean
  publicKeyPem: string
}

/** Makes the key pair unless it is there. @throws AppError `config_invalid` when a named file is missing or holds another kind of key */
export function initKeys(config: Config): KeyReport {
  const created = !existsSync(signingKeyFile(config))
  const { file, publicKeyPem } = openSigningKey(config)
  return { file, created, publicKeyPem }
}

/** @throws AppError `not_found` when there is no key yet: printing makes none */
export function publicKey(config: Config): KeyReport {
  const file = signingKeyFile(config)
  if (!existsSync(file))
    throw new AppError('not_found', `there is no signing key ${file} yet: ask with the configuration of control, or make one with \`homeostat keys init\``)
  return initKeys(config)
}
