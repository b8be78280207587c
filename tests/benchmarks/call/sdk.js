// The calls through wx-server-sdk: node sdk.js PORT PICTURE CALLS AT_ONCE
const [port, picture, calls, atOnce] = process.argv.slice(2)
Object.assign(process.env, {
  TENCENTCLOUD_RUNENV: 'SCF', TENCENTCLOUD_REGION: 'ap-shanghai', TENCENTCLOUD_SECRETID: 'id',
  TENCENTCLOUD_SECRETKEY: 'key', TENCENTCLOUD_SESSIONTOKEN: 'session', TCB_ENV: 'env-1', SCF_NAMESPACE: 'env-1',
  WX_CONTEXT_KEYS: 'WX_API_TOKEN', WX_API_TOKEN: 'ticket',
  TCB_CONTEXT_CNFG: JSON.stringify({ URL: `http://127.0.0.1:${port}/sdk` }),
})
const cloud = require('wx-server-sdk')
cloud.init({ env: cloud.DYNAMIC_CURRENT_ENV })
const event = { img: require('fs').readFileSync(picture) }

async function main(event) {
  const answer = await cloud.openapi.img.aiCrop({ img: { contentType: 'image/jpeg', value: event.img }, ratios: '1,2.35' })
  if (answer.errCode !== 0) throw new Error(JSON.stringify(answer))
}

async function many(count) {
  let left = count
  const one = async () => { while (left-- > 0) await main(event) }
  await Promise.all(Array.from({ length: Number(atOnce) }, one))
}

async function run() {
  await main(event)
  if (calls === '0') return
  await many(Number(calls) / 4)
  const [wall, cpu] = [process.hrtime.bigint(), process.cpuUsage()]
  await many(Number(calls))
  const used = process.cpuUsage(cpu)
  const ms = Number(process.hrtime.bigint() - wall) / 1e6
  console.log(JSON.stringify({ ms: ms / calls, cpu: (used.user + used.system) / 1000 / calls }))
}
run().then(() => process.exit(0), (error) => { console.error(error); process.exit(1) })
