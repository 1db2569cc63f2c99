// What others know of the orders: the payment provider's charges, and the broker's dead letters.
import { deadLetterTopics } from '../../platform/processes/services.ts'
import { kubectl, runIn } from './kubectl.ts'

/** Returns how many charges the payment provider has for each order. */
export async function chargesByOrder(): Promise<Map<string, number>> {
  // By the sidecar of payments, which alone knows the provider's key.
  const script = `
    const counts = {}
    for (let after = ''; ;) {
      const url = 'http://127.0.0.1:' + process.env.DAPR_HTTP_PORT +
        '/v1.0/invoke/payment-provider/method/v1/payment_intents?limit=100' + (after && '&starting_after=' + after)
      const response = await fetch(url, { headers: { 'dapr-api-token': process.env.DAPR_API_TOKEN } })
      if (!response.ok) throw new Error(response.status + ' ' + await response.text())
      const { data, has_more } = await response.json()
      for (const { metadata, status } of data)
        if (status === 'succeeded') counts[metadata.order_id] = (counts[metadata.order_id] ?? 0) + 1
      if (!has_more) break
      after = data.at(-1).id
    }
    console.log(JSON.stringify(counts))`
  return new Map(Object.entries(JSON.parse(await runIn('payments', script)) as Record<string, number>))
}

/**
 * Returns the partitions of dead-letter topics that hold anything, by the broker's own files: its
 * log of a partition without records has no bytes.
 */
export async function deadLetters(): Promise<string[]> {
  const list = "find /var/lib/kafka/data -path '*.dlq-*' -name '*.log' -printf '%s %P\\n'"
  const logs = (await kubectl(['exec', 'kafka-0', '--', 'sh', '-c', list])).trim().split('\n')
  const missing = deadLetterTopics.filter((topic) => !logs.some((log) => log.includes(`/${topic}-`)))
  if (missing.length > 0) throw new Error(`the broker has no files of ${missing.join(', ')}`)
  return logs.filter((log) => !log.startsWith('0 '))
}
