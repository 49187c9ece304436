// Both Kafka clients against their contract, on the broker that the run shares; what one compresses the other reads.

import { describe, test } from 'vitest'
import { kafkajsClient } from '../../pipeline/log/kafka/kafkajs-client.ts'
import { platformaticClient } from '../../pipeline/log/kafka/platformatic-client.ts'
import { kafkaSkipReason } from '../support/kafka-broker.ts'
import { kafkaClientContract } from './kafka-client.ts'

const reason = kafkaSkipReason()
if (reason !== undefined) describe.skip(`the Kafka clients (${reason})`, () => test('', () => {}))
else {
  kafkaClientContract('kafkajs', kafkajsClient, { others: { platformatic: platformaticClient } })
  kafkaClientContract('platformatic', platformaticClient, { others: { kafkajs: kafkajsClient } })
}
