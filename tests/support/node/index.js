// A cloud function as mini programs have it, with a picture from a file so that no network is needed.
const fs = require('fs')
const cloud = require('wx-server-sdk')
cloud.init({ env: cloud.DYNAMIC_CURRENT_ENV })

exports.main = async (event) => {
  const options = { ratios: event.ratios }
  if (event.imgUrl) options.imgUrl = event.imgUrl
  if (event.file) options.img = { contentType: 'image/jpeg', value: fs.readFileSync(event.file) }
  if (event.json) options.img = { contentType: 'image/jpeg', value: { type: 'Buffer', data: [255, 216, 255] } }
  const api = event.api ? cloud.openapi.img[event.api] : cloud.openapi.img.aiCrop
  try {
    return await api(options)
  } catch (err) {
    return err
  }
}

exports.main(JSON.parse(process.argv[2])).then((answer) => {
  console.log(JSON.stringify(answer))
  process.exit(0) // after a time-out the SDK keeps its socket open
})
