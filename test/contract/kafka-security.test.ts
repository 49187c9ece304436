// TLS and SASL reach the brokers as the configuration says: both clients against a broker that asks for both.
//
// The broker is this file's own, with a certificate that is made for it; the options come from kafkaClientOptions, as in production.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { configSchema } from '../../schemas/config.ts'
import { AppError } from '../../schemas/errors.ts'
import { kafkaClientOptions } from '../../pipeline/log/kafka/client-options.ts'
import { kafkajsClient } from '../../pipeline/log/kafka/kafkajs-client.ts'
import { platformaticClient } from '../../pipeline/log/kafka/platformatic-client.ts'
import { type KafkaBroker, kafkaSkipReason, startKafka } from '../support/kafka-broker.ts'
import { aBatch, aMember, aName, aTopic, fetchAll, shared } from '../support/kafka-tools.ts'
import { quietLogger, textOf } from '../support/log-tools.ts'
import type { MakeClient } from './kafka-client.ts'

const KEYSTORE_PASSWORD = 'changeit'
const USERNAME = 'homeostat'
const PASSWORD = 'open sesame'
const CLIENTS: Readonly<Record<string, MakeClient>> = { kafkajs: kafkajsClient, platformatic: platformaticClient }

const reason = kafkaSkipReason()
const folder = mkdtempSync(join(tmpdir(), 'homeostat-tls-'))
const caFile = join(folder, 'ca.pem')
let broker: KafkaBroker

describe.skipIf(reason !== undefined)(`a broker with TLS and SCRAM${reason === undefined ? '' : ` (${reason})`}`, () => {
  beforeAll(async () => {
    const keystoreFile = join(folder, 'broker.p12')
    const store = ['-keystore', keystoreFile, '-storepass', KEYSTORE_PASSWORD, '-alias', 'broker']
    const names = ['-dname', 'CN=broker', '-ext', 'san=ip:127.0.0.1']
    execFileSync('keytool', ['-genkeypair', '-keyalg', 'RSA', '-keysize', '2048', '-storetype', 'PKCS12', '-validity', '2', ...store, ...names], {
      stdio: 'ignore'
    })
    execFileSync('keytool', ['-exportcert', '-rfc', '-file', caFile, ...store], { stdio: 'ignore' })
    broker = await startKafka({ secured: { keystoreFile, keystorePassword: KEYSTORE_PASSWORD, username: USERNAME, password: PASSWORD } })
  })
  afterAll(async () => {
    await broker?.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  for (const [name, make] of Object.entries(CLIENTS)) {
    test(`${name} writes, reads and joins with the right certificate and password`, async () => {
      const client = make(options({ tls: { caFile }, password: PASSWORD }))
      const [producer, fetcher, admin] = [await client.openProducer(), await client.openFetcher(), await client.openAdmin()]
      const topic = aName('secured')
      await admin.create([aTopic(topic)])
      expect(await producer.send([aBatch(topic, 0, ['secret'])])).toEqual([0])
      expect((await fetchAll(fetcher, topic)).records.map(textOf)).toEqual(['secret'])
      const member = await aMember(client, { group: aName('group'), topics: [topic] })
      await shared([member], 1)
      await member.member.leave(true)
      await Promise.all([producer.close(), fetcher.close(), admin.close()])
    })

    const failures = {
      'a wrong password': { tls: { caFile }, password: 'open barley' },
      'a certificate that nobody vouches for': { tls: {}, password: PASSWORD }
    }
    for (const [what, given] of Object.entries(failures)) {
      test(`${name} says that ${what} keeps it out`, async () => {
        const admin = await make(options(given)).openAdmin()
        const failed = await admin.brokers().catch(error => error)
        await admin.close()
        expect(failed).toBeInstanceOf(AppError)
        expect((failed as AppError).code).toBe('log_unavailable')
        expect((failed as AppError).message).toMatch(what.includes('password') ? /authentication|credentials/i : /certificate/i)
      })
    }
  }
})

function options({ tls, password }: { tls: { caFile?: string }; password: string }) {
  const sasl = { mechanism: 'scram-sha-512', username: USERNAME, password: 'env:KAFKA_PASSWORD' }
  const kafka = { brokers: [`127.0.0.1:${broker.securedPort}`], tls, sasl, sessionTimeout: '6s' }
  const config = configSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat', kafka })
  const meter = { count() {}, gauge() {} }
  return kafkaClientOptions(config, { secret: reference => (reference === 'env:KAFKA_PASSWORD' ? password : ''), role: 'test', logger: quietLogger, meter })
}
